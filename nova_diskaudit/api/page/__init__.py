# SPDX-License-Identifier: Apache-2.0
"""The page for people: the files beside this one, as they are served.

It is a client like any other: it asks the API with its visitor's token and shows the answers. No
file is built or changed on its way, and none holds data of anybody.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import pathlib
from typing import NamedTuple

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}


class File(NamedTuple):
    """One file. ``tag`` is another one when its text is."""

    text: str
    content_type: str
    tag: str


def _files() -> dict[str, File]:
    found = {}
    for file in importlib.resources.files(__name__).iterdir():
        content_type = _TYPES.get(pathlib.PurePath(file.name).suffix)
        if content_type is not None:
            text = file.read_text(encoding="utf-8")
            tag = hashlib.sha256(text.encode()).hexdigest()[:16]
            found[file.name] = File(text, content_type, tag)
    return dict(sorted(found.items()))


#: All files by name; the page itself is ``index.html``.
FILES = _files()

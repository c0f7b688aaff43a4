# SPDX-License-Identifier: Apache-2.0
"""Whole outputs held in files beside this one.

After a wanted change: ``UPDATE_GOLDEN=1 pytest tests/unit/render``, then read the diff.
"""

from __future__ import annotations

import os
import pathlib

_FOLDER = pathlib.Path(__file__).parent / "golden"


def read(name: str) -> str:
    """What the file ``name`` among the golden ones holds."""
    return (_FOLDER / name).read_text()


def check(name: str, text: str) -> None:
    """Fail unless ``text`` is what the golden file ``name`` holds."""
    path = _FOLDER / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == read(name), f"{path} differs; see {__name__} on how to renew it"

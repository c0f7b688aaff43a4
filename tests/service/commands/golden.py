# SPDX-License-Identifier: Apache-2.0
"""Whole outputs held in files beside this one; the documentation shows them.

After a wanted change: ``UPDATE_GOLDEN=1 pytest tests/service/commands``, then read the diff.
"""

from __future__ import annotations

import os
import pathlib

FOLDER = pathlib.Path(__file__).parent / "golden"


def check(name: str, text: str) -> None:
    """Fail unless ``text`` is what the golden file ``name`` holds."""
    path = FOLDER / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs; see {__name__} on how to renew it"

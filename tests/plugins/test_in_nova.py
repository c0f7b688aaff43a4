# SPDX-License-Identifier: Apache-2.0
"""The plugins of Nova in Nova's own Python."""

from __future__ import annotations

import pathlib

import pytest

from tests.cloud import environment
from tests.plugins import inside

HERE = pathlib.Path(__file__).parent / "in_nova"


@pytest.mark.parametrize("name", sorted(file.name for file in HERE.glob("test_*.py")))
def test_in_nova(installed: pathlib.Path, name: str) -> None:
    said = inside.passes(environment.programs(), installed, HERE / name)
    assert " passed" in said and " skipped" not in said

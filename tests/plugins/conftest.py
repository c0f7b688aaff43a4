# SPDX-License-Identifier: Apache-2.0
"""Which tests are for which Python."""

from __future__ import annotations

import pathlib

import pytest

from tests.plugins import inside

#: They run in the programs' own environments.
collect_ignore = ["in_ceilometer", "in_nova"]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """nova-diskaudit and pytest, for any program's Python of this release."""
    return inside.install(tmp_path_factory.mktemp("installed"), "pytest")

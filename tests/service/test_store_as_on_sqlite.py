# SPDX-License-Identifier: Apache-2.0
"""What is held of the store on SQLite in the unit tests, held on the servers as well."""

from __future__ import annotations

import pytest

from tests.unit.store.test_instance import *  # noqa: F403  # noqa: F403
from tests.unit.store.test_report import *  # noqa: F403
from tests.unit.store.test_report_model import *  # noqa: F403


@pytest.fixture(scope="session", params=("postgresql", "mariadb"))
def server(request: pytest.FixtureRequest) -> object:
    return request.getfixturevalue(request.param)

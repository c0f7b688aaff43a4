# SPDX-License-Identifier: Apache-2.0
"""What is held of the store on SQLite in the unit tests, held on the servers as well."""

from __future__ import annotations

from tests.unit.store.test_instance import *  # noqa: F403
from tests.unit.store.test_keeping import *  # noqa: F403
from tests.unit.store.test_quota import *  # noqa: F403
from tests.unit.store.test_report import *  # noqa: F403
from tests.unit.store.test_report_model import *  # noqa: F403
from tests.unit.store.test_sink import *  # noqa: F403
from tests.unit.store.test_task import *  # noqa: F403
from tests.unit.store.test_usage import *  # noqa: F403

SERVERS = ("postgresql", "mariadb")

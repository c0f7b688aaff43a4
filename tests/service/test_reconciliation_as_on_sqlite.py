# SPDX-License-Identifier: Apache-2.0
"""What is held of the reconciliation on SQLite in the unit tests, held on the servers as well."""

from __future__ import annotations

from tests.unit.reconcile.test_reconciliation import *  # noqa: F403
from tests.unit.reconcile.test_reconciliation_model import *  # noqa: F403

SERVERS = ("postgresql", "mariadb")

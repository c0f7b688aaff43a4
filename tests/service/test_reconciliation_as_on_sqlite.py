# SPDX-License-Identifier: Apache-2.0
"""What is held of the reconciliation on SQLite in the unit tests, held on the servers as well."""

from __future__ import annotations

import sqlalchemy as sa

from tests.unit.reconcile import test_lives
from tests.unit.reconcile.test_reconciliation import *  # noqa: F403
from tests.unit.reconcile.test_reconciliation_taken_over import *  # noqa: F403

SERVERS = ("postgresql", "mariadb")


def test_some_lives(engine: sa.Engine) -> None:
    """Fewer than on SQLite: the rules are the same, and so are most statements."""
    test_lives.lead(engine, max(1, test_lives.EXAMPLES // 4))

# SPDX-License-Identifier: Apache-2.0
"""Periodic work, with a lease for each task; that of the map of Nova was a part of the map."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "2026_11_4"
down_revision = "2026_11_3"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
MOMENT = sa.BigInteger()
UUID = sa.String(36)
WORDS = sa.Text()


def upgrade() -> None:
    """Make them. Nobody holds a lease while the tables change."""
    op.create_table(
        "task",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("due_at", MOMENT),
        sa.Column("began_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.Column("succeeded_at", MOMENT),
        sa.Column("problem", WORDS),
        sa.Column("holder", UUID),
        sa.Column("held_until_at", MOMENT),
        sa.PrimaryKeyConstraint("name", name="pk_task"),
        **OPTIONS,
    )
    with op.batch_alter_table("nova_map") as batch:
        batch.drop_column("holder")
        batch.drop_column("held_until_at")

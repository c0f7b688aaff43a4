# SPDX-License-Identifier: Apache-2.0
"""Periodic work, with a lease for each task (that of the map of Nova was a part of the map); what
Placement allocated.
"""

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
    op.create_table(
        "provider",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("uuid", UUID, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("generation", sa.BigInteger),
        sa.Column("fetched_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_provider"),
        sa.UniqueConstraint("uuid", name="uq_provider_uuid"),
        **OPTIONS,
    )
    op.create_table(
        "allocation",
        sa.Column("provider_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("uuid", UUID, nullable=False),
        sa.Column("disk_gb", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("provider_id", "uuid", name="pk_allocation"),
        **OPTIONS,
    )
    op.create_index(
        "ix_allocation_uuid_disk_gb_provider_id", "allocation", ["uuid", "disk_gb", "provider_id"]
    )
    op.create_table(
        "allocation_map",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("complete_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_allocation_map"),
        **OPTIONS,
    )

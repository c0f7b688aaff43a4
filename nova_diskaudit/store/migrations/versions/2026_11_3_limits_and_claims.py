# SPDX-License-Identifier: Apache-2.0
"""Limits of projects, and what Placement promised them."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "2026_11_3"
down_revision = "2026_11_2"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
MOMENT = sa.BigInteger()
PROJECT = sa.String(64)
WORDS = sa.Text()


def upgrade() -> None:
    """Make them; the next refresh fills them."""
    op.create_table(
        "quota_limit",
        sa.Column("project_id", PROJECT, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("limit_gib", sa.BigInteger, nullable=False),
        sa.Column("shared_gib", sa.BigInteger),
        sa.PrimaryKeyConstraint("project_id", "name", name="pk_quota_limit"),
        **OPTIONS,
    )
    op.create_table(
        "quota",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("limits_at", MOMENT),
        sa.Column("model", sa.String(64)),
        sa.Column("limits_problem", WORDS),
        sa.Column("nova_enforces", sa.Integer),
        sa.Column("claims_at", MOMENT),
        sa.Column("claims_problem", WORDS),
        sa.PrimaryKeyConstraint("id", name="pk_quota"),
        **OPTIONS,
    )
    op.create_table(
        "claim",
        sa.Column("project_id", PROJECT, nullable=False),
        sa.Column("disk_gb", sa.BigInteger),
        sa.Column("as_of", MOMENT),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("project_id", name="pk_claim"),
        **OPTIONS,
    )

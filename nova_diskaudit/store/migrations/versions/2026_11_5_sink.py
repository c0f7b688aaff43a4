# SPDX-License-Identifier: Apache-2.0
"""How far a sink has come."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_5"
down_revision = "2026_11_4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make its table."""
    op.create_table(
        "sink",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("sent_at", sa.BigInteger()),
        sa.Column("whole_at", sa.BigInteger()),
        sa.Column("begun_at", sa.BigInteger()),
        sa.Column("since_at", sa.BigInteger()),
        sa.Column("after_uuid", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_sink"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )

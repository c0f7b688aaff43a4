# SPDX-License-Identifier: Apache-2.0
"""Bounds and reasons of each sighting; what projects hold, now and before."""

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "2026_11_2"
down_revision = "2026_11_1"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
MOMENT = sa.BigInteger()
BYTES = sa.BigInteger()
UUID = sa.String(36)
PROJECT = sa.String(64)
CODE = sa.String(64)
BODY = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")

NEW = (
    ("used_low_bytes", BYTES),
    ("used_high_bytes", BYTES),
    ("reclaimable_high_bytes", BYTES),
    ("host_reason", CODE),
    ("guest_reason", CODE),
)


def sums() -> list[sa.Column[Any]]:
    """Columns of a sum over disks."""
    return [
        sa.Column("disks", sa.BigInteger, nullable=False),
        sa.Column("virtual_bytes", BYTES, nullable=False),
        sa.Column("virtual_unknown", sa.BigInteger, nullable=False),
        sa.Column("host_allocated_bytes", BYTES, nullable=False),
        sa.Column("host_allocated_unknown", sa.BigInteger, nullable=False),
        sa.Column("guest_used_bytes", BYTES, nullable=False),
        sa.Column("guest_used_unknown", sa.BigInteger, nullable=False),
        sa.Column("used_low_bytes", BYTES),
        sa.Column("used_high_bytes", BYTES),
        sa.Column("reclaimable_low_bytes", BYTES, nullable=False),
        sa.Column("reclaimable_likely_bytes", BYTES, nullable=False),
        sa.Column("reclaimable_high_bytes", BYTES),
    ]


def upgrade() -> None:
    """Make them; what the rows of sightings lack, the agents tell anew."""
    with op.batch_alter_table("sighting") as batch:
        for name, kind in NEW:
            batch.add_column(sa.Column(name, kind))
    with op.batch_alter_table("host") as batch:
        batch.add_column(sa.Column("reports", sa.BigInteger, nullable=False, server_default="0"))
    _ask_again()
    op.create_table(
        "rollup",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("run_id", UUID),
        sa.Column("computed_at", MOMENT),
        sa.Column("duration", sa.BigInteger),
        sa.Column("counts", BODY),
        sa.Column("instances_at", MOMENT),
        sa.Column("reports_purged", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rollup"),
        **OPTIONS,
    )
    op.create_table(
        "project_usage",
        sa.Column("project_id", PROJECT, nullable=False),
        sa.Column("computed_at", MOMENT, nullable=False),
        sa.Column("as_of", MOMENT),
        *sums(),
        sa.Column("instances", sa.Integer, nullable=False),
        sa.Column("host_measured", sa.Integer, nullable=False),
        sa.Column("guest_measured", sa.Integer, nullable=False),
        sa.Column("stale", sa.Integer, nullable=False),
        sa.Column("reasons", BODY, nullable=False),
        sa.PrimaryKeyConstraint("project_id", name="pk_project_usage"),
        **OPTIONS,
    )
    op.create_table(
        "project_hour",
        sa.Column("hour_at", MOMENT, nullable=False, autoincrement=False),
        sa.Column("project_id", PROJECT, nullable=False),
        sa.Column("as_of", MOMENT, nullable=False),
        *sums(),
        sa.Column("instances", sa.Integer, nullable=False),
        sa.Column("host_measured", sa.Integer, nullable=False),
        sa.Column("guest_measured", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("hour_at", "project_id", name="pk_project_hour"),
        **OPTIONS,
    )
    op.create_table(
        "instance_day",
        sa.Column("day_at", MOMENT, nullable=False, autoincrement=False),
        sa.Column("uuid", UUID, nullable=False),
        sa.Column("project_id", PROJECT, nullable=False),
        sa.Column("as_of", MOMENT, nullable=False),
        *sums(),
        sa.Column("host_measured", sa.Integer, nullable=False),
        sa.Column("guest_measured", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("day_at", "uuid", name="pk_instance_day"),
        **OPTIONS,
    )


def _ask_again() -> None:
    """Make every agent send all that it knows, and every row of it news."""
    host = sa.table("host", sa.column("id", sa.Integer), sa.column("report_id", UUID))
    sighting = sa.table(
        "sighting",
        sa.column("digest", sa.LargeBinary(16)),
        sa.column("host_allocated_unknown", sa.Integer),
        sa.column("guest_used_unknown", sa.Integer),
        sa.column("host_reason", CODE),
        sa.column("guest_reason", CODE),
    )
    op.execute(
        sa.update(sighting).values(
            digest=bytes(16),
            host_reason=sa.case((sighting.c.host_allocated_unknown > 0, "not-told")),
            guest_reason=sa.case((sighting.c.guest_used_unknown > 0, "not-told")),
        )
    )
    connection = op.get_bind()
    renewed = (
        sa.update(host)
        .where(host.c.id == sa.bindparam("which"))
        .values(report_id=sa.bindparam("unknown"))
    )
    for host_id in list(connection.scalars(sa.select(host.c.id))):
        connection.execute(renewed, {"which": host_id, "unknown": str(uuid.uuid4())})

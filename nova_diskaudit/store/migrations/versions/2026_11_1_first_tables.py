# SPDX-License-Identifier: Apache-2.0
"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "2026_11_1"
down_revision = None
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
HOST = sa.String(255)
PROJECT = sa.String(64)
WORDS = sa.Text()
DIGEST = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
BODY = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "host",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("name", HOST, nullable=False),
        sa.Column("report_id", UUID, nullable=False),
        sa.Column("agent", UUID, nullable=False),
        sa.Column("as_of", MOMENT, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("contested_at", MOMENT),
        sa.Column("codes", WORDS, nullable=False),
        sa.Column("service_codes", WORDS, nullable=False),
        sa.Column("findings", BODY, nullable=False),
        sa.Column("instances", sa.Integer, nullable=False),
        sa.Column("disks", sa.Integer, nullable=False),
        sa.Column("virtual_bytes", BYTES, nullable=False),
        sa.Column("host_allocated_bytes", BYTES, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_host"),
        sa.UniqueConstraint("name", name="uq_host_name"),
        **OPTIONS,
    )
    op.create_table(
        "storage",
        sa.Column("host_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("total_bytes", BYTES),
        sa.Column("free_bytes", BYTES),
        sa.Column("virtual_sum_bytes", BYTES, nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("body", BODY, nullable=False),
        sa.PrimaryKeyConstraint("host_id", "key", name="pk_storage"),
        **OPTIONS,
    )
    op.create_index("ix_storage_key", "storage", ["key"])
    op.create_table(
        "sighting",
        sa.Column("host_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("uuid", UUID, nullable=False),
        sa.Column("as_of", MOMENT),
        sa.Column("since_at", MOMENT, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.Column("project_id", PROJECT),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("codes", WORDS, nullable=False),
        sa.Column("service_codes", WORDS, nullable=False),
        sa.Column("disks", sa.Integer, nullable=False),
        sa.Column("virtual_bytes", BYTES, nullable=False),
        sa.Column("virtual_unknown", sa.Integer, nullable=False),
        sa.Column("host_allocated_bytes", BYTES, nullable=False),
        sa.Column("host_allocated_unknown", sa.Integer, nullable=False),
        sa.Column("guest_used_bytes", BYTES, nullable=False),
        sa.Column("guest_used_unknown", sa.Integer, nullable=False),
        sa.Column("reclaimable_low_bytes", BYTES, nullable=False),
        sa.Column("reclaimable_likely_bytes", BYTES, nullable=False),
        sa.Column("held", WORDS, nullable=False),
        sa.Column("body", BODY, nullable=False),
        sa.PrimaryKeyConstraint("host_id", "uuid", name="pk_sighting"),
        **OPTIONS,
    )
    op.create_index("ix_sighting_uuid", "sighting", ["uuid"])
    op.create_index("ix_sighting_project_id_uuid", "sighting", ["project_id", "uuid"])
    op.create_table(
        "instance",
        sa.Column("uuid", UUID, nullable=False),
        sa.Column("project_id", PROJECT, nullable=False),
        sa.Column("user_id", PROJECT),
        sa.Column("name", sa.String(255)),
        sa.Column("host", HOST),
        sa.Column("other_host", HOST),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("task_state", sa.String(64)),
        sa.Column("root_gb", sa.Integer),
        sa.Column("ephemeral_gb", sa.Integer),
        sa.Column("swap_mb", sa.Integer),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("moved_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT),
        sa.PrimaryKeyConstraint("uuid", name="pk_instance"),
        **OPTIONS,
    )
    op.create_index("ix_instance_project_id_uuid", "instance", ["project_id", "uuid"])
    op.create_index("ix_instance_host", "instance", ["host"])
    op.create_table(
        "nova_map",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("changes_since_at", MOMENT),
        sa.Column("complete_at", MOMENT),
        sa.Column("listed_at", MOMENT),
        sa.Column("refreshed_at", MOMENT),
        sa.Column("problem", WORDS),
        sa.Column("holder", UUID),
        sa.Column("held_until_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_nova_map"),
        **OPTIONS,
    )
    op.create_table(
        "finding",
        sa.Column("host_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("uuid", UUID, nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("since_at", MOMENT, nullable=False),
        sa.Column("message", WORDS),
        sa.PrimaryKeyConstraint("host_id", "uuid", "code", "origin", name="pk_finding"),
        **OPTIONS,
    )
    op.create_index(
        "ix_finding_code_uuid_host_id_origin", "finding", ["code", "uuid", "host_id", "origin"]
    )
    op.create_table(
        "enrollment",
        sa.Column("credential_id", sa.String(64), nullable=False),
        sa.Column("host", HOST, nullable=False),
        sa.Column("enrolled_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("credential_id", name="pk_enrollment"),
        **OPTIONS,
    )
    op.create_index("ix_enrollment_host", "enrollment", ["host"])

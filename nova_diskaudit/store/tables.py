# SPDX-License-Identifier: Apache-2.0
"""The tables as they are now; ``migrations/`` leads to them.

Texts compare byte by byte on every database (MariaDB would fold case): names of hosts and ids are
names, not words. Columns named ``*_at`` and ``as_of`` are moments (:mod:`.moment`).

There are no foreign keys. A report writes under the lock of its host's row, and whoever removes a
host removes what belongs to it in the same transaction; a check of the parent for each of a
thousand rows would buy nothing.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}

_Moment = sa.BigInteger
_Bytes = sa.BigInteger
_Uuid = sa.String(36)
_Host = sa.String(255)
_Project = sa.String(64)
_Digest = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
#: MariaDB's BLOB ends at 64 KiB.
_Body = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
_Words = sa.Text()
_Code = sa.String(64)


def _sums() -> list[sa.Column[Any]]:
    """Columns for what :class:`nova_diskaudit.store.usage.Sums` has."""
    return [
        sa.Column("disks", sa.BigInteger, nullable=False),
        sa.Column("virtual_bytes", _Bytes, nullable=False),
        sa.Column("virtual_unknown", sa.BigInteger, nullable=False),
        sa.Column("host_allocated_bytes", _Bytes, nullable=False),
        sa.Column("host_allocated_unknown", sa.BigInteger, nullable=False),
        sa.Column("guest_used_bytes", _Bytes, nullable=False),
        sa.Column("guest_used_unknown", sa.BigInteger, nullable=False),
        sa.Column("used_low_bytes", _Bytes),
        sa.Column("used_high_bytes", _Bytes),
        sa.Column("reclaimable_low_bytes", _Bytes, nullable=False),
        sa.Column("reclaimable_likely_bytes", _Bytes, nullable=False),
        sa.Column("reclaimable_high_bytes", _Bytes),
    ]


#: One row a host that reports: the chain, and the host's own part of its last report.
host = sa.Table(
    "host",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", _Host, nullable=False, unique=True),
    # the chain (nova_diskaudit.protocol.judge)
    sa.Column("report_id", _Uuid, nullable=False),
    sa.Column("agent", _Uuid, nullable=False),
    sa.Column("as_of", _Moment, nullable=False),
    sa.Column("received_at", _Moment, nullable=False),
    # how many were taken
    sa.Column("reports", sa.BigInteger, nullable=False, server_default="0"),
    # when another agent last wanted to speak for the host
    sa.Column("contested_at", _Moment),
    # codes of findings about the host itself: the agent's, and this service's
    sa.Column("codes", _Words, nullable=False),
    sa.Column("service_codes", _Words, nullable=False),
    sa.Column("findings", _Body, nullable=False),
    # sums over all that is sighted on it
    sa.Column("instances", sa.Integer, nullable=False),
    sa.Column("disks", sa.Integer, nullable=False),
    sa.Column("virtual_bytes", _Bytes, nullable=False),
    sa.Column("host_allocated_bytes", _Bytes, nullable=False),
    **_OPTIONS,
)

#: A filesystem of a host that carries disks. Hosts that share it have one ``key`` for it.
storage = sa.Table(
    "storage",
    metadata,
    sa.Column("host_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("total_bytes", _Bytes),
    sa.Column("free_bytes", _Bytes),
    sa.Column("virtual_sum_bytes", _Bytes, nullable=False),
    sa.Column("digest", _Digest, nullable=False),
    sa.Column("body", _Body, nullable=False),
    sa.Index(None, "key"),
    **_OPTIONS,
)

#: An agent's word about one instance. ``as_of`` null: as of the host's report.
sighting = sa.Table(
    "sighting",
    metadata,
    sa.Column("host_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("uuid", _Uuid, primary_key=True),
    sa.Column("as_of", _Moment),
    # when this service first heard of it on this host, and when it last changed
    sa.Column("since_at", _Moment, nullable=False),
    sa.Column("changed_at", _Moment, nullable=False),
    # a hint from the domain's metadata
    sa.Column("project_id", _Project),
    sa.Column("digest", _Digest, nullable=False),
    # codes of its findings: the agent's, and this service's
    sa.Column("codes", _Words, nullable=False),
    sa.Column("service_codes", _Words, nullable=False),
    # sums over its local disks, each identity once
    sa.Column("disks", sa.Integer, nullable=False),
    sa.Column("virtual_bytes", _Bytes, nullable=False),
    sa.Column("virtual_unknown", sa.Integer, nullable=False),
    sa.Column("host_allocated_bytes", _Bytes, nullable=False),
    sa.Column("host_allocated_unknown", sa.Integer, nullable=False),
    sa.Column("guest_used_bytes", _Bytes, nullable=False),
    sa.Column("guest_used_unknown", sa.Integer, nullable=False),
    sa.Column("reclaimable_low_bytes", _Bytes, nullable=False),
    sa.Column("reclaimable_likely_bytes", _Bytes, nullable=False),
    # bounds; null where nothing bounds one of the disks
    sa.Column("used_low_bytes", _Bytes),
    sa.Column("used_high_bytes", _Bytes),
    sa.Column("reclaimable_high_bytes", _Bytes),
    # why what is held, or what the guest uses, is not known of all disks; null: it is
    sa.Column("host_reason", _Code),
    sa.Column("guest_reason", _Code),
    # bytes that nothing else shares, by storage: "key:bytes key:bytes"
    sa.Column("held", _Words, nullable=False),
    sa.Column("body", _Body, nullable=False),
    sa.Index(None, "uuid"),
    sa.Index(None, "project_id", "uuid"),
    **_OPTIONS,
)

#: Nova's word about one instance: ``reconcile`` writes what ``cloud`` says, and nobody else.
instance = sa.Table(
    "instance",
    metadata,
    sa.Column("uuid", _Uuid, primary_key=True),
    sa.Column("project_id", _Project, nullable=False),
    sa.Column("user_id", _Project),
    sa.Column("name", sa.String(255)),
    sa.Column("host", _Host),
    # the other end of an open migration or resize
    sa.Column("other_host", _Host),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("task_state", sa.String(64)),
    sa.Column("root_gb", sa.Integer),
    sa.Column("ephemeral_gb", sa.Integer),
    sa.Column("swap_mb", sa.Integer),
    # by this service's clock: when it was last confirmed, when ``host`` last changed
    sa.Column("seen_at", _Moment, nullable=False),
    sa.Column("moved_at", _Moment, nullable=False),
    sa.Column("deleted_at", _Moment),
    sa.Index(None, "project_id", "uuid"),
    sa.Index(None, "host"),
    **_OPTIONS,
)

#: How far the ledger ``instance`` is known to be right. One row, ``id`` 1.
nova_map = sa.Table(
    "nova_map",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    # Nova's own clock: what changed before is in the ledger
    sa.Column("changes_since_at", _Moment),
    # by this service's clock: the begin of the last pass in which all of Nova answered
    sa.Column("complete_at", _Moment),
    # the same, of the last pass that listed every instance
    sa.Column("listed_at", _Moment),
    # the last pass at all, and what it could not see
    sa.Column("refreshed_at", _Moment),
    sa.Column("problem", _Words),
    **_OPTIONS,
)

#: Periodic work, by the name of the task.
task = sa.Table(
    "task",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    # when it is to be done again; null: now
    sa.Column("due_at", _Moment),
    # the last time: when it began and ended, when one ended well, and what was wrong with the last
    sa.Column("began_at", _Moment),
    sa.Column("ended_at", _Moment),
    sa.Column("succeeded_at", _Moment),
    sa.Column("problem", _Words),
    # who does it now
    sa.Column("holder", _Uuid),
    sa.Column("held_until_at", _Moment),
    **_OPTIONS,
)

#: A finding about one instance on one host, or about the host itself (``uuid`` empty).
finding = sa.Table(
    "finding",
    metadata,
    sa.Column("host_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("uuid", _Uuid, primary_key=True),
    sa.Column("code", sa.String(64), primary_key=True),
    sa.Column("origin", sa.String(16), primary_key=True),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("since_at", _Moment, nullable=False),
    # of this service; an agent's words are in its report
    sa.Column("message", _Words),
    sa.Index(None, "code", "uuid", "host_id", "origin"),
    **_OPTIONS,
)

#: The last pass of the roll-up. One row, ``id`` 1.
rollup = sa.Table(
    "rollup",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    # who began last: every other one stops
    sa.Column("run_id", _Uuid),
    # of the last one that came to its end: as of when, and how many microseconds it took
    sa.Column("computed_at", _Moment),
    sa.Column("duration", sa.BigInteger),
    # what it counted, as JSON
    sa.Column("counts", _Body),
    # when the days of instances were last written
    sa.Column("instances_at", _Moment),
    # reports that were taken from hosts which are purged
    sa.Column("reports_purged", sa.BigInteger, nullable=False),
    **_OPTIONS,
)

#: A project's usage by the last pass; projects that have nothing any more have no row.
project_usage = sa.Table(
    "project_usage",
    metadata,
    sa.Column("project_id", _Project, primary_key=True),
    sa.Column("computed_at", _Moment, nullable=False),
    sa.Column("as_of", _Moment),
    *_sums(),
    sa.Column("instances", sa.Integer, nullable=False),
    sa.Column("host_measured", sa.Integer, nullable=False),
    sa.Column("guest_measured", sa.Integer, nullable=False),
    sa.Column("stale", sa.Integer, nullable=False),
    sa.Column("reasons", _Body, nullable=False),
    **_OPTIONS,
)

#: What was last observed of a project within an hour, by the begin of that hour. Time leads the
#: key here and below: new rows are at its end, old ones at its begin.
project_hour = sa.Table(
    "project_hour",
    metadata,
    sa.Column("hour_at", _Moment, primary_key=True, autoincrement=False),
    sa.Column("project_id", _Project, primary_key=True),
    sa.Column("as_of", _Moment, nullable=False),
    *_sums(),
    sa.Column("instances", sa.Integer, nullable=False),
    sa.Column("host_measured", sa.Integer, nullable=False),
    sa.Column("guest_measured", sa.Integer, nullable=False),
    **_OPTIONS,
)

#: What was last observed of an instance within a day of UTC, by the begin of that day.
instance_day = sa.Table(
    "instance_day",
    metadata,
    sa.Column("day_at", _Moment, primary_key=True, autoincrement=False),
    sa.Column("uuid", _Uuid, primary_key=True),
    sa.Column("project_id", _Project, nullable=False),
    sa.Column("as_of", _Moment, nullable=False),
    *_sums(),
    # 1 or 0
    sa.Column("host_measured", sa.Integer, nullable=False),
    sa.Column("guest_measured", sa.Integer, nullable=False),
    **_OPTIONS,
)

#: A limit of Keystone as it holds for one project, and with an empty ``project_id`` for all that
#: have no row of their own. -1 is unlimited.
quota_limit = sa.Table(
    "quota_limit",
    metadata,
    sa.Column("project_id", _Project, primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("limit_gib", sa.BigInteger, nullable=False),
    # what all projects of its domain may have together; null where they share nothing
    sa.Column("shared_gib", sa.BigInteger),
    **_OPTIONS,
)

#: How far the limits and the claims are right. One row, ``id`` 1.
quota = sa.Table(
    "quota",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    # when Keystone last told all limits; its enforcement model
    sa.Column("limits_at", _Moment),
    sa.Column("model", sa.String(64)),
    # why the last look at it was in vain
    sa.Column("limits_problem", _Words),
    # whether Nova refuses what goes beyond its limit: 1, 0, null where nobody knows
    sa.Column("nova_enforces", sa.Integer),
    # the last look at Placement, and what went wrong
    sa.Column("claims_at", _Moment),
    sa.Column("claims_problem", _Words),
    **_OPTIONS,
)

#: What Placement promised a project, in GiB of disk; null: it was asked in vain.
claim = sa.Table(
    "claim",
    metadata,
    sa.Column("project_id", _Project, primary_key=True),
    sa.Column("disk_gb", sa.BigInteger),
    sa.Column("as_of", _Moment),
    sa.Column("asked_at", _Moment, nullable=False),
    **_OPTIONS,
)

#: A provider of Placement: a compute node, or a pool that several share.
provider = sa.Table(
    "provider",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("uuid", _Uuid, nullable=False, unique=True),
    sa.Column("name", sa.String(255), nullable=False),
    # at which its allocations were told; null: they are to be asked for again
    sa.Column("generation", sa.BigInteger),
    # by this service's clock: a moment before they were
    sa.Column("fetched_at", _Moment, nullable=False),
    **_OPTIONS,
)

#: What a provider promised a consumer (an instance, or a migration that is open) in GiB of disk.
allocation = sa.Table(
    "allocation",
    metadata,
    sa.Column("provider_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("uuid", _Uuid, primary_key=True),
    sa.Column("disk_gb", sa.BigInteger, nullable=False),
    # all that is asked of it by instance
    sa.Index(None, "uuid", "disk_gb", "provider_id"),
    **_OPTIONS,
)

#: How far ``provider`` and ``allocation`` are right. One row, ``id`` 1.
allocation_map = sa.Table(
    "allocation_map",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    # by this service's clock: the begin of the last pass in which Placement told everything
    sa.Column("complete_at", _Moment),
    **_OPTIONS,
)

#: Which application credential may report for which host.
enrollment = sa.Table(
    "enrollment",
    metadata,
    sa.Column("credential_id", sa.String(64), primary_key=True),
    sa.Column("host", _Host, nullable=False),
    sa.Column("enrolled_at", _Moment, nullable=False),
    sa.Index(None, "host"),
    **_OPTIONS,
)

#: How far a sink has come that gets what is verified. A pass that was broken off goes on where it
#: was.
sink = sa.Table(
    "sink",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    # by this service's clock: the begin of the last finished pass, and of the last one that sent
    # everything
    sa.Column("sent_at", _Moment),
    sa.Column("whole_at", _Moment),
    # the pass that is not finished: its begin, what it sends (null: everything), how far it is
    sa.Column("begun_at", _Moment),
    sa.Column("since_at", _Moment),
    sa.Column("after_uuid", _Uuid, nullable=False),
    **_OPTIONS,
)

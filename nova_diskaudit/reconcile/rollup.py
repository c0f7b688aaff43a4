# SPDX-License-Identifier: Apache-2.0
"""The roll-up: one pass adds up what all projects hold, and writes down what is to be kept of it.

Lists of all projects and ``/metrics`` read the last pass; questions about one project do not wait
for it. It is to run every few minutes: an hour's sums are those of its last pass, over what was
observed within that hour.
"""

from __future__ import annotations

import datetime
import logging
import time
import uuid
from collections import Counter
from typing import NamedTuple

import sqlalchemy as sa

from nova_diskaudit import findings
from nova_diskaudit.store import history, moment, rollup, usage

LOG = logging.getLogger(__name__)

#: What findings are counted under whose code this release does not know: anybody can invent one.
OTHER = "other"

# Days of instances are written every six hours, the last time after 23:30 UTC.
_SLOT = 6 * history.HOUR
_BEFORE_MIDNIGHT = history.HOUR // 2


class Pass(NamedTuple):
    """What became of a pass. ``ran``: not, when another one began meanwhile."""

    ran: bool
    projects: int = 0
    #: whether the days of instances were written
    days: bool = False
    #: rows of the past that were too old
    purged: int = 0
    seconds: float = 0.0


def run(
    engine: sa.Engine,
    *,
    now: datetime.datetime,
    nova: bool,
    stale_after_seconds: float,
    project_history_days: int,
    instance_history_days: int,
) -> Pass:
    """Add up, write, and forget what is older than it is to be kept.

    It may be run again, or twice at the same time: then the one that began later is completed.

    :param now: this service's clock.
    :param nova: whether Nova's ledger is kept.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    begun, run_id = time.perf_counter(), str(uuid.uuid4())
    rollup.begin(engine, run_id)
    try:
        projects, reasons = _projects(engine, run_id, now, nova, stale_after_seconds)
        counted = rollup.Counted(findings=_findings(engine), reasons=reasons)
        days = is_due(rollup.state(engine).instances_at, now)
        if days:
            rollup.put_days(engine, run_id, nova=nova, now=now)
        purged = history.purge(
            engine, project_days=project_history_days, instance_days=instance_history_days
        )
        seconds = time.perf_counter() - begun
        rollup.finish(engine, run_id, now=now, seconds=seconds, counted=counted)
    except rollup.Superseded:
        LOG.info("Another roll-up has begun; this one ends")
        return Pass(ran=False)
    return Pass(True, projects, days, purged, seconds)


def is_due(last: int | None, now: datetime.datetime) -> bool:
    """Whether the days of instances are to be written again.

    :param last: the moment when they last were.
    """
    return last is None or _slot(last) != _slot(moment.of(now))


def _slot(at: int) -> int:
    return (at + _BEFORE_MIDNIGHT) // _SLOT


def _projects(
    engine: sa.Engine,
    run_id: str,
    now: datetime.datetime,
    nova: bool,
    stale_after_seconds: float,
) -> tuple[int, tuple[usage.Reason, ...]]:
    found = rollup.projects(engine, nova=nova, now=now, stale_after_seconds=stale_after_seconds)
    number, reasons = 0, Counter[tuple[str, usage.Part]]()
    for one in rollup.put(engine, run_id, found):
        number += 1
        for reason in one.usage.reasons:
            reasons[reason.code, reason.lacks] += reason.instances
    return number, tuple(
        usage.Reason(code, lacks, instances) for (code, lacks), instances in sorted(reasons.items())
    )


def _findings(engine: sa.Engine) -> tuple[tuple[str, str, int], ...]:
    counts = Counter[tuple[str, str]]()
    for code, severity, number in rollup.findings(engine):
        counts[code if code in findings.CATALOGUE else OTHER, severity] += number
    return tuple((code, severity, number) for (code, severity), number in sorted(counts.items()))

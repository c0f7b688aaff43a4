# SPDX-License-Identifier: Apache-2.0
"""The table of all periodic work. A new task is one line in it, and a function beside it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from oslo_config import cfg

from nova_diskaudit.conf import ConfigurationError, service
from nova_diskaudit.reconcile.runner import Job, Result, Turn

DAY_SECONDS = 86400.0


class Task(NamedTuple):
    """Periodic work.

    ``prepare`` is called once and gives what is run; it raises :class:`ConfigurationError`. It
    imports what the task needs, so that nobody pays for what is not wanted.
    """

    name: str
    about: str
    is_wanted: Callable[[cfg.ConfigOpts], bool]
    interval_seconds: Callable[[cfg.ConfigOpts], float]
    prepare: Callable[[cfg.ConfigOpts], Callable[[Turn], Result]]


def _nova_map(conf: cfg.ConfigOpts) -> Callable[[Turn], Result]:
    from nova_diskaudit.cloud import connection, nova
    from nova_diskaudit.reconcile import nova_map

    cloud = nova.Nova(connection.connect(conf))
    return lambda turn: _told(
        nova_map.refresh(
            turn.lease, cloud, whole_every_seconds=conf.nova.full_interval, tell=turn.tell
        )
    )


def _limits(conf: cfg.ConfigOpts) -> Callable[[Turn], Result]:
    from nova_diskaudit.cloud import connection, keystone, placement
    from nova_diskaudit.reconcile import limits

    kept = keystone.Keystone(connection.connect(conf, group="keystone"), conf.nova.region_name)
    promises = placement.Placement(connection.connect(conf, group="placement"))

    def run(turn: Turn) -> Result:
        done = limits.refresh(
            turn.engine,
            kept,
            promises,
            now=turn.now,
            nova_enforces=conf.limits.nova_enforces,
            limits_every_seconds=conf.limits.limits_interval,
            claims=conf.limits.claims_per_interval,
        )
        facts = {name: value for name, value in done._asdict().items() if name != "problems"}
        return Result(facts, "; ".join(done.problems) or None)

    return run


def _roll_up(conf: cfg.ConfigOpts) -> Callable[[Turn], Result]:
    from nova_diskaudit.reconcile import rollup

    return lambda turn: _told(
        rollup.run(
            turn.engine,
            now=turn.now,
            nova=service.keeps_map(conf),
            stale_after_seconds=conf.api.stale_after,
            project_history_days=conf.rollup.project_history_days,
            instance_history_days=conf.rollup.instance_history_days,
        )
    )


def _gnocchi(conf: cfg.ConfigOpts) -> Callable[[Turn], Result]:
    from nova_diskaudit.cloud import gnocchi as cloud
    from nova_diskaudit.sinks import gnocchi

    to = cloud.connect(conf)

    def run(turn: Turn) -> Result:
        done = gnocchi.push(
            turn.engine,
            to,
            now=turn.now,
            archive_policy=conf.gnocchi.archive_policy,
            whole_every_seconds=conf.gnocchi.full_interval,
            parallel=conf.gnocchi.parallel_requests,
            go_on=turn.lease.go_on,
        )
        problem = None
        if not done.complete:
            problem = "there is more than can be sent at once: the rest follows"
        elif done.refused:
            problem = f"{done.refused} instances are left out: the log tells why"
        return Result(done._asdict(), problem)

    return run


def _purge(conf: cfg.ConfigOpts) -> Callable[[Turn], Result]:
    from nova_diskaudit.store import purge

    age = datetime.timedelta(days=conf.reconcile.purge_after_days)
    return lambda turn: _told(purge.purge(turn.engine, before=turn.now - age))


def _with_limits(conf: cfg.ConfigOpts) -> bool:
    enabled: bool | None = conf.limits.enabled
    return service.keeps_map(conf) if enabled is None else enabled


#: In the order in which a single run does them: each finds what those before it wrote.
TASKS = (
    Task(
        "nova-map",
        "ask Nova whose each instance is, and where",
        service.keeps_map,
        lambda conf: conf.nova.interval,
        _nova_map,
    ),
    Task(
        "limits",
        "ask Keystone what each project may hold, and Placement what it was promised",
        _with_limits,
        lambda conf: conf.limits.interval,
        _limits,
    ),
    Task(
        "roll-up",
        "add up what each project holds",
        lambda conf: True,
        lambda conf: conf.rollup.interval,
        _roll_up,
    ),
    Task(
        "gnocchi",
        "send what is verified to Gnocchi",
        lambda conf: conf.gnocchi.enabled,
        lambda conf: conf.gnocchi.interval,
        _gnocchi,
    ),
    Task(
        "purge",
        "remove what nobody will ask for again",
        lambda conf: conf.reconcile.purge_after_days > 0,
        lambda conf: DAY_SECONDS,
        _purge,
    ),
)


def prepared(conf: cfg.ConfigOpts, names: Iterable[str] = ()) -> list[Job]:
    """What this configuration wants to be done, or of it the tasks with these names.

    :raises ConfigurationError: for a name that there is not or that is not wanted, and for options
        that cannot be used.
    """
    wanted = {one.name: one for one in TASKS if one.is_wanted(conf)}
    chosen = list(names)
    for name in chosen:
        if name not in {one.name for one in TASKS}:
            raise ConfigurationError(f"there is no task {name}: {', '.join(t.name for t in TASKS)}")
        if name not in wanted:
            raise ConfigurationError(f"the task {name} is turned off by the configuration")
    return [
        Job(name, float(one.interval_seconds(conf)), one.prepare(conf))
        for name, one in wanted.items()
        if not chosen or name in chosen
    ]


def _told(done: Any) -> Result:
    """A named tuple of a pass, with its ``problem`` (if it can have one) apart."""
    facts = done._asdict()
    problem = facts.pop("problem", None)
    return Result(facts, problem)

# SPDX-License-Identifier: Apache-2.0
"""The table of all periodic work. A new task is one line in it, and a function beside it."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from oslo_config import cfg

from nova_diskaudit.cloud import CloudError
from nova_diskaudit.conf import ConfigurationError, service
from nova_diskaudit.reconcile import runner
from nova_diskaudit.reconcile.runner import Job, Result, Turn

DAY_SECONDS = 86400.0
NOVA_MAP = "nova-map"


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


def _reconciliation(conf: cfg.ConfigOpts) -> Callable[[Turn], Result]:
    from nova_diskaudit.reconcile import reconciliation

    with_nova, with_placement = service.keeps_map(conf), _with_allocations(conf)
    steps = [_nova_map(conf)] if with_nova else []
    allocations = _allocations(conf) if with_placement else None

    def run(turn: Turn) -> Result:
        # Placement first: an instance that Nova tells of afterwards is at least as new. And both
        # right before the comparison: what a host reported since cannot be judged.
        facts: dict[str, Any] = {}
        problems = []
        if allocations is not None:
            try:
                facts |= allocations(turn).facts
            except CloudError as error:
                problems.append(f"Placement: {error}")
        answers = not problems
        for step in steps:
            job = Job(NOVA_MAP, float(conf.nova.interval), step)
            outcome = runner.attempt(
                turn.engine,
                job,
                holder=str(uuid.uuid4()),
                clock=turn.lease.clock,
                if_due=False,
                tell=turn.tell,
                stop=turn.stop,
            )
            if outcome.problem is not None:
                problems.append(f"Nova: {outcome.problem}")
        done = reconciliation.run(
            turn.lease,
            nova=with_nova,
            placement=with_placement,
            placement_answers=answers,
            stale_after_seconds=conf.api.stale_after,
            tell=turn.tell,
        )
        return Result({**facts, **done._asdict()}, "; ".join(problems) or None)

    return run


def _allocations(conf: cfg.ConfigOpts) -> Callable[[Turn], Result]:
    from nova_diskaudit.cloud import connection, placement
    from nova_diskaudit.reconcile import allocations

    cloud = placement.Placement(connection.connect(conf, group="placement"))
    return lambda turn: _told(
        allocations.refresh(
            turn.lease,
            cloud,
            whole_every_seconds=conf.reconcile.allocations_full_interval,
            tell=turn.tell,
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


def _with_allocations(conf: cfg.ConfigOpts) -> bool:
    enabled: bool | None = conf.reconcile.allocations
    return service.keeps_map(conf) and enabled is not False


def _with_limits(conf: cfg.ConfigOpts) -> bool:
    enabled: bool | None = conf.limits.enabled
    return service.keeps_map(conf) if enabled is None else enabled


#: In the order in which a single run does them: each finds what those before it wrote.
TASKS = (
    Task(
        NOVA_MAP,
        "ask Nova whose each instance is, and where",
        service.keeps_map,
        lambda conf: conf.nova.interval,
        _nova_map,
    ),
    Task(
        "reconciliation",
        "hold what agents report against Nova and Placement",
        lambda conf: True,
        lambda conf: conf.reconcile.interval,
        _reconciliation,
    ),
    Task(
        "roll-up",
        "add up what each project holds",
        lambda conf: True,
        lambda conf: conf.rollup.interval,
        _roll_up,
    ),
    Task(
        "limits",
        "ask Keystone what each project may hold, and Placement what it was promised",
        _with_limits,
        lambda conf: conf.limits.interval,
        _limits,
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

# SPDX-License-Identifier: Apache-2.0
"""Keeping the copies of Keystone's limits and of Placement's claims.

Limits are few questions and come all at once. A claim is one question a project: some projects are
asked for in each pass, one after the other, those first that were not for longest. So a cloud of
ten thousand projects costs Placement no more at a time than a small one.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import sqlalchemy as sa

from nova_diskaudit.cloud import CloudError, keystone, placement
from nova_diskaudit.limits import HIERARCHICAL, UNLIMITED, lesser
from nova_diskaudit.store import moment, quota

LOG = logging.getLogger(__name__)

#: One project may have an answer of its own that is wrong; three in a row have Placement's.
_FAILURES = 3
_AT_ONCE = 50


class Pass(NamedTuple):
    """What became of one pass. ``problems`` say what was not brought up to date, and why."""

    #: those that changed; None when Keystone was not asked, or in vain
    limits: int | None = None
    #: projects whose claim Placement told
    claims: int = 0
    #: projects that have nothing any more
    removed: int = 0
    problems: tuple[str, ...] = ()


def refresh(
    engine: sa.Engine,
    cloud: keystone.Keystone,
    promises: placement.Placement,
    *,
    now: datetime.datetime,
    nova_enforces: bool | None,
    limits_every_seconds: float = 120.0,
    claims: int = 300,
    within_seconds: float = 30.0,
) -> Pass:
    """Bring both up to date, as far as that is due and possible. It may be run at any time.

    :param now: this service's clock.
    :param nova_enforces: whether Nova refuses what goes beyond its own limit; None: not known.
    :param limits_every_seconds: how old the limits may be.
    :param claims: projects to ask Placement about, at most.
    :param within_seconds: when to stop asking about projects.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    changed, first = _limits(engine, cloud, now, limits_every_seconds)
    removed = quota.forget(engine)
    told, second = _claims(engine, promises, now, claims, within_seconds)
    quota.put_state(
        engine,
        nova_enforces=None if nova_enforces is None else int(nova_enforces),
        claims_at=moment.of(now),
        claims_problem=second,
    )
    problems = tuple(one for one in (first, second) if one is not None)
    return Pass(changed, told, removed, problems)


# --- limits -------------------------------------------------------------------------------------


def _limits(
    engine: sa.Engine, cloud: keystone.Keystone, now: datetime.datetime, every_seconds: float
) -> tuple[int | None, str | None]:
    at = moment.of(now)
    before = quota.state(engine)
    if before.limits_at is not None and 0 <= at - before.limits_at < every_seconds * 1e6:
        return None, None
    try:
        found = cloud.limits()
        domains = cloud.domains() if _depends_on_domains(found) else {}
    except CloudError as error:
        LOG.warning("Keystone did not tell the limits: %s", error)
        problem = f"limits: {error}"
        quota.put_state(engine, limits_problem=problem)
        return None, problem
    return quota.put_limits(engine, as_they_hold(found, domains), model=found.model, at=at), None


def _depends_on_domains(found: keystone.Limits) -> bool:
    return found.model == HIERARCHICAL and any(one.domains for one in found.by_name.values())


def as_they_hold(found: keystone.Limits, domains: Mapping[str, str]) -> Iterator[quota.Limit]:
    """Each limit for everybody, and for the projects that it is different for.

    :param domains: the domain of each project; nothing, if no domain has a limit that counts.
    """
    hierarchical = found.model == HIERARCHICAL
    for name, limit in found.by_name.items():
        default = limit.registered.default_limit
        yield quota.Limit(
            quota.EVERYBODY, name, default, _shared(default) if hierarchical else None
        )
        if not hierarchical:
            for project_id, own in limit.projects.items():
                yield quota.Limit(project_id, name, own, None)
            continue
        below = {project_id for project_id, where in domains.items() if where in limit.domains}
        for project_id in sorted(below | limit.projects.keys()):
            of_domain = limit.domains.get(domains.get(project_id, ""), default)
            own = limit.projects.get(project_id, lesser(default, of_domain))
            yield quota.Limit(project_id, name, own, _shared(of_domain))


def _shared(of_domain: int) -> int | None:
    return None if of_domain == UNLIMITED else of_domain


# --- claims -------------------------------------------------------------------------------------


def _claims(
    engine: sa.Engine,
    promises: placement.Placement,
    now: datetime.datetime,
    claims: int,
    within_seconds: float,
) -> tuple[int, str | None]:
    until = time.monotonic() + within_seconds
    told = failures = 0
    problem: str | None = None
    learnt: dict[str, int | None] = {}
    for project_id in quota.due(engine, limit=claims):
        try:
            learnt[project_id] = promises.claimed_disk_gb(project_id)
            told, failures = told + 1, 0
        except CloudError as error:
            LOG.warning("Placement did not tell the claim of %s: %s", project_id, error)
            learnt[project_id], failures = None, failures + 1
            problem = f"claims: {error}"
        if len(learnt) == _AT_ONCE:
            quota.put_claims(engine, learnt, at=moment.of(now))
            learnt = {}
        if failures == _FAILURES or time.monotonic() > until:
            break
    quota.put_claims(engine, learnt, at=moment.of(now))
    return told, problem

# SPDX-License-Identifier: Apache-2.0
"""Limits and claims: what is kept, what is replaced, who sees it, whom Placement is asked about."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nova_diskaudit.limits import GUEST_USED, HOST_ALLOCATED, NOVA_DISK, UNLIMITED
from nova_diskaudit.store import quota, scope
from nova_diskaudit.store.tables import claim, project_usage, quota_limit
from tests.unit.store import look

ALL = scope.Everything()


def project_has_instances(engine: sa.Engine, *project_ids: str) -> None:
    """As the roll-up leaves it."""
    plain: dict[str, Any] = {column.name: 0 for column in project_usage.c if not column.nullable}
    with engine.begin() as connection:
        connection.execute(
            sa.insert(project_usage),
            [plain | {"project_id": one, "reasons": b""} for one in project_ids],
        )


def project_is_gone(engine: sa.Engine, project_id: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.delete(project_usage).where(project_usage.c.project_id == project_id))


def limit(
    project_id: str, gib: int, *, name: str = HOST_ALLOCATED, shared: int | None = None
) -> quota.Limit:
    return quota.Limit(project_id, name, gib, shared)


def test_nothing_is_known(engine: sa.Engine) -> None:
    assert quota.of_projects(engine, ALL, ["red"]) == quota.Quota(quota.State(), {}, {})
    assert quota.due(engine, limit=10) == []


def test_a_limit_of_ones_own_comes_first(engine: sa.Engine) -> None:
    everything = [
        limit(quota.EVERYBODY, 100),
        limit("red", 200, shared=300),
        limit(quota.EVERYBODY, UNLIMITED, name=NOVA_DISK),
    ]
    assert quota.put_limits(engine, everything, model="flat", at=7) == 3
    found = quota.of_projects(engine, ALL, ["blue", "red", "red"])
    assert found.limits == {
        ("red", HOST_ALLOCATED): limit("red", 200, shared=300),
        ("red", NOVA_DISK): everything[2],
        ("blue", HOST_ALLOCATED): everything[0],
        ("blue", NOVA_DISK): everything[2],
    }
    assert (found.state.limits_at, found.state.model) == (7, "flat")


def test_limits_are_replaced(engine: sa.Engine) -> None:
    before = [limit(quota.EVERYBODY, 1), limit("red", 2), limit("blue", 3)]
    quota.put_limits(engine, before, model="flat", at=1)
    after = [limit(quota.EVERYBODY, 1), limit("red", 4), limit("red", 5, name=GUEST_USED)]
    assert quota.put_limits(engine, after, model="flat", at=2) == 3
    assert sorted(look.rows(engine, quota_limit)) == sorted(tuple(one) for one in after)
    assert quota.put_limits(engine, after, model="flat", at=3) == 0
    assert quota.state(engine).limits_at == 3
    assert quota.put_limits(engine, [], model="flat", at=4) == 3
    assert look.rows(engine, quota_limit) == []


def test_a_problem_is_told_until_it_is_over(engine: sa.Engine) -> None:
    quota.put_limits(engine, [limit("", 1)], model="flat", at=1)
    quota.put_state(engine, limits_problem="away", nova_enforces=0)
    assert quota.state(engine) == quota.State(
        limits_at=1, model="flat", limits_problem="away", nova_enforces=False
    )
    quota.put_limits(engine, [limit("", 1)], model="flat", at=2)
    quota.put_state(engine, nova_enforces=None)
    assert quota.state(engine) == quota.State(limits_at=2, model="flat")


def test_claims(engine: sa.Engine) -> None:
    quota.put_claims(engine, {"red": 20, "blue": None}, at=5)
    found = quota.of_projects(engine, ALL, ["red", "blue"])
    assert found.claims == {"red": quota.Claim(20, 5)}, "asked in vain is not 0"
    quota.put_claims(engine, {"red": None, "blue": 0}, at=6)
    found = quota.of_projects(engine, ALL, ["red", "blue"])
    assert found.claims == {"red": quota.Claim(20, 5), "blue": quota.Claim(0, 6)}
    quota.put_claims(engine, {"red": 21}, at=7)
    assert quota.of_projects(engine, ALL, ["red"]).claims == {"red": quota.Claim(21, 7)}
    quota.put_claims(engine, {}, at=8)


def test_who_was_not_asked_for_longest_is_first(engine: sa.Engine) -> None:
    project_has_instances(engine, "a", "b", "c", "d")
    assert quota.due(engine, limit=2) == ["a", "b"]
    quota.put_claims(engine, {"a": 1, "b": None}, at=5)
    quota.put_claims(engine, {"d": 1}, at=4)
    assert quota.due(engine, limit=10) == ["c", "d", "a", "b"], "in vain counts as well"


def test_a_project_that_is_gone(engine: sa.Engine) -> None:
    project_has_instances(engine, "a", "b")
    quota.put_claims(engine, {"a": 1, "b": 2}, at=5)
    assert quota.forget(engine) == 0
    project_is_gone(engine, "a")
    assert quota.forget(engine) == 1
    assert [row.project_id for row in look.rows(engine, claim)] == ["b"]
    assert quota.due(engine, limit=10) == ["b"]


def test_a_project_sees_its_own(engine: sa.Engine) -> None:
    quota.put_limits(engine, [limit("", 1), limit("red", 2)], model="flat", at=1)
    quota.put_claims(engine, {"red": 20, "blue": 30}, at=1)
    found = quota.of_projects(engine, scope.OfProject("blue"), ["red", "blue"])
    assert found.limits == {("blue", HOST_ALLOCATED): limit("", 1)}
    assert set(found.claims) == {"blue"}


def test_many_projects_at_once(engine: sa.Engine) -> None:
    names = [f"p{number:04}" for number in range(1200)]
    quota.put_limits(
        engine, [limit("", 1), *(limit(one, 2) for one in names[::2])], model="flat", at=1
    )
    quota.put_claims(engine, dict.fromkeys(names, 3), at=1)
    found = quota.of_projects(engine, ALL, names)
    assert len(found.claims) == len(found.limits) == 1200
    assert sum(one.limit_gib for one in found.limits.values()) == 1800

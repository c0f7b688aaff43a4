# SPDX-License-Identifier: Apache-2.0
"""Keeping limits and claims: what is asked how often, and what stands while nobody answers."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.cloud import connection, keystone, placement
from nova_diskaudit.conf import service
from nova_diskaudit.limits import (
    FLAT,
    HIERARCHICAL,
    HOST_ALLOCATED,
    NOVA_DISK,
    UNLIMITED,
    lesser,
)
from nova_diskaudit.reconcile import limits
from nova_diskaudit.store import moment, quota, scope
from nova_diskaudit.store.tables import quota_limit
from tests import reports
from tests.canned import Canned
from tests.unit.store import look
from tests.unit.store.test_quota import project_has_instances, project_is_gone

NOW = reports.NOW
MINUTE = datetime.timedelta(minutes=1)
ALL = scope.Everything()


def registered(name: str, default: int, service_id: str = "ours") -> dict[str, Any]:
    return {
        "id": f"r-{name}",
        "service_id": service_id,
        "region_id": None,
        "resource_name": name,
        "default_limit": default,
    }


def override(name: str, value: int, service_id: str = "ours", **whose: str) -> dict[str, Any]:
    return {
        "id": f"l-{name}-{'-'.join(whose.values())}",
        "service_id": service_id,
        "region_id": None,
        "resource_name": name,
        "resource_limit": value,
        **whose,
    }


class Clouds:
    """Keystone and Placement at one address, and the two that ask them."""

    def __init__(self, canned: Canned, directory: pathlib.Path, engine: sa.Engine) -> None:
        self.canned, self.engine, self.now = canned, engine, NOW
        file = directory / "nova-diskaudit-api.conf"
        file.write_text(
            "[nova]\nauth_type = none\ntimeout = 5\n"
            f"[placement]\nendpoint_override = {canned.url}\n"
            f"[keystone]\nendpoint_override = {canned.url}/v3\n"
        )
        conf = service.read([str(file)])
        self.keystone = keystone.Keystone(connection.connect(conf, group="keystone"))
        self.placement = placement.Placement(connection.connect(conf, group="placement"))
        canned.answers |= {
            "/v3/services": {
                "services": [
                    {"id": "ours", "type": "disk-audit"},
                    {"id": "nova", "type": "compute"},
                ]
            },
            "/v3/registered_limits": {"registered_limits": [registered(HOST_ALLOCATED, 100)]},
            "/v3/limits": {"limits": [override(HOST_ALLOCATED, 7, project_id="red")]},
            "/v3/limits/model": {"model": {"name": FLAT}},
            "/usages": {"usages": {"DISK_GB": 20, "VCPU": 1}},
        }

    def passes(self, **options: Any) -> limits.Pass:
        self.now += MINUTE
        return limits.refresh(
            self.engine,
            self.keystone,
            self.placement,
            now=self.now,
            **{"nova_enforces": None} | options,
        )

    def of(self, *project_ids: str) -> quota.Quota:
        return quota.of_projects(self.engine, ALL, project_ids)

    def asked_for(self, path: str) -> list[str]:
        """What was asked below this path since the last time, and forget it."""
        found = [one for one in self.canned.asked if one.startswith(f"GET {path}")]
        self.canned.asked.clear()
        return found


@pytest.fixture
def clouds(canned: Canned, engine: sa.Engine, tmp_path: pathlib.Path) -> Iterator[Clouds]:
    project_has_instances(engine, "red", "blue")
    return Clouds(canned, tmp_path, engine)


def test_a_pass(clouds: Clouds) -> None:
    assert clouds.passes(nova_enforces=True) == limits.Pass(limits=2, claims=2)
    found = clouds.of("red", "blue")
    at = moment.of(clouds.now)
    assert found.state == quota.State(limits_at=at, model=FLAT, nova_enforces=True, claims_at=at)
    assert found.limits["red", HOST_ALLOCATED].limit_gib == 7
    assert found.limits["blue", HOST_ALLOCATED].limit_gib == 100
    assert found.claims == dict.fromkeys(("red", "blue"), quota.Claim(20, at))


def test_how_often_keystone_is_asked(clouds: Clouds) -> None:
    clouds.passes()
    assert len(clouds.asked_for("/v3/")) == 4
    assert clouds.passes().limits is None
    assert clouds.asked_for("/v3/") == []
    assert clouds.passes().limits == 0, "nothing changed"
    assert len(clouds.asked_for("/v3/")) == 4
    clouds.now -= 60 * MINUTE
    assert clouds.passes().limits == 0, "after the clock was set back"


def test_ten_thousand_projects_do_not_hammer_placement(clouds: Clouds) -> None:
    project_has_instances(clouds.engine, *(f"p{number:02}" for number in range(20)))
    seen: list[str] = []
    for _ in range(5):
        assert clouds.passes(claims=5).claims <= 5
        asked = clouds.asked_for("/usages")
        assert len(asked) == 5
        seen += asked
    assert len(set(seen)) == 22, "everybody, before anybody is asked for again"


def test_placement_may_be_slow(clouds: Clouds) -> None:
    project_has_instances(clouds.engine, *(f"p{number:02}" for number in range(20)))
    clouds.canned.pause = 0.05
    done = clouds.passes(within_seconds=0.1)
    assert 0 < done.claims < 20 and done.problems == ()


def test_keystone_is_away(clouds: Clouds) -> None:
    clouds.passes()
    before = clouds.of("red")
    clouds.canned.status["/v3/limits"] = 500
    clouds.now += 10 * MINUTE
    done = clouds.passes()
    assert done.limits is None and done.claims == 2
    (problem,) = done.problems
    assert problem.startswith("limits: Keystone answered 500") and "\n" not in problem
    after = clouds.of("red")
    assert after.limits == before.limits
    assert after.state.limits_at == before.state.limits_at
    assert after.state.limits_problem == problem
    assert after.claims["red"].as_of > before.claims["red"].as_of
    del clouds.canned.status["/v3/limits"]
    assert clouds.passes().problems == ()
    assert clouds.of("red").state.limits_problem is None


def test_placement_is_away(clouds: Clouds) -> None:
    clouds.passes()
    before = clouds.of("red")
    project_has_instances(clouds.engine, *(f"p{number:02}" for number in range(20)))
    clouds.canned.status["/usages"] = 500
    clouds.canned.asked.clear()
    clouds.now += 10 * MINUTE
    done = clouds.passes()
    assert len(clouds.asked_for("/usages")) == 3, "given up"
    assert done.limits == 0 and done.claims == 0
    (problem,) = done.problems
    assert problem.startswith("claims: Placement answered 500")
    after = clouds.of("red")
    assert after.claims == before.claims
    assert after.state.claims_problem == problem
    del clouds.canned.status["/usages"]
    assert clouds.passes().problems == ()
    assert clouds.of("red").state.claims_problem is None


def test_one_project_that_placement_does_not_tell_holds_nobody_up(clouds: Clouds) -> None:
    clouds.canned.first["/usages"] = [(500, {})]
    done = clouds.passes()
    assert done.claims == 1 and len(done.problems) == 1
    assert set(clouds.of("red", "blue").claims) == {"red"}, "blue is first"
    clouds.canned.first["/usages"] = [(200, b"<html>")]
    assert clouds.passes(claims=1).claims == 0
    assert clouds.passes(claims=1).claims == 1, "the other one"


def test_a_project_that_is_gone(clouds: Clouds) -> None:
    clouds.passes()
    project_is_gone(clouds.engine, "red")
    done = clouds.passes()
    assert (done.removed, done.claims) == (1, 1)
    assert set(clouds.of("red", "blue").claims) == {"blue"}


def test_a_hierarchy(clouds: Clouds) -> None:
    clouds.canned.answers |= {
        "/v3/limits/model": {"model": {"name": HIERARCHICAL}},
        "/v3/limits": {
            "limits": [
                override(HOST_ALLOCATED, 60, domain_id="d"),
                override(HOST_ALLOCATED, 7, project_id="red"),
            ]
        },
        "/v3/projects": {
            "projects": [
                {"id": "red", "domain_id": "d"},
                {"id": "blue", "domain_id": "d"},
                {"id": "green", "domain_id": "e"},
            ]
        },
    }
    clouds.passes()
    found = {
        project_id: (one.limit_gib, one.shared_gib)
        for (project_id, _), one in clouds.of("red", "blue", "green").limits.items()
    }
    assert found == {"red": (7, 60), "blue": (60, 60), "green": (100, 100)}


def test_domains_are_asked_for_only_where_they_matter(clouds: Clouds) -> None:
    clouds.canned.answers["/v3/limits"] = {"limits": [override(HOST_ALLOCATED, 6, domain_id="d")]}
    assert clouds.passes().problems == ()
    assert clouds.asked_for("/v3/projects") == []
    assert [tuple(row) for row in look.rows(clouds.engine, quota_limit)] == [
        ("", HOST_ALLOCATED, 100, None)
    ]


def test_projects_that_keystone_does_not_tell_leave_all_limits_as_they_were(
    clouds: Clouds,
) -> None:
    clouds.passes()
    before = look.rows(clouds.engine, quota_limit)
    clouds.canned.answers["/v3/limits/model"] = {"model": {"name": HIERARCHICAL}}
    clouds.canned.answers["/v3/limits"] = {"limits": [override(HOST_ALLOCATED, 6, domain_id="d")]}
    clouds.now += 10 * MINUTE
    (problem,) = clouds.passes().problems
    assert "404 to GET /projects" in problem
    assert look.rows(clouds.engine, quota_limit) == before


# --- which limit holds, against its definition ---------------------------------------------------

GIB = st.sampled_from([UNLIMITED, 0, 1, 5, 10])
PROJECTS = ("a", "b", "c")
DOMAINS = ("d", "e")


@given(
    model=st.sampled_from([FLAT, HIERARCHICAL]),
    default=GIB,
    own=st.dictionaries(st.sampled_from(PROJECTS), GIB),
    of_domains=st.dictionaries(st.sampled_from(DOMAINS), GIB),
    where=st.dictionaries(st.sampled_from(PROJECTS), st.sampled_from(DOMAINS)),
)
def test_which_limit_holds(
    model: str,
    default: int,
    own: dict[str, int],
    of_domains: dict[str, int],
    where: dict[str, str],
) -> None:
    one = keystone.Registered(
        id="r", service_id="s", resource_name=NOVA_DISK, default_limit=default
    )
    found = keystone.Limits(model, {NOVA_DISK: keystone.Limit(one, own, of_domains)})
    rows = {row.project_id: row for row in limits.as_they_hold(found, where)}
    for project in PROJECTS:
        row = rows.get(project, rows[quota.EVERYBODY])
        domain = of_domains.get(where.get(project, ""), default)
        if model == FLAT:
            assert (row.limit_gib, row.shared_gib) == (own.get(project, default), None)
        else:
            assert row.limit_gib == own.get(project, lesser(default, domain))
            assert row.shared_gib == (None if domain == UNLIMITED else domain)

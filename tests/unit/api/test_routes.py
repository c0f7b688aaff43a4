# SPDX-License-Identifier: Apache-2.0
"""The table of routes: everything has its rule, and what tenants read is theirs."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from nova_diskaudit.api import policies, policy, routes
from nova_diskaudit.api.handlers import finding as finding_handlers
from nova_diskaudit.api.handlers import instance as instance_handlers
from nova_diskaudit.api.handlers import usage as usage_handlers
from nova_diskaudit.store import finding as store_finding
from nova_diskaudit.store import history as store_history
from nova_diskaudit.store import instance as store_instance
from nova_diskaudit.store import scope
from nova_diskaudit.store import usage as store_usage
from tests import reports
from tests.unit.api import service
from tests.unit.api.conftest import BLUE, OPERATOR, RED, Client, agent

EXAMPLES = {"file": "app.js", "host": "compute-1", "uuid": reports.uuid_of("one")}
PUBLIC = {"/", "/healthcheck", "/page", "/page/{file}", "/v1/openapi.json"}
IDS = [f"{route.method} {route.path}" for route in routes.ROUTES]


def path_of(route: routes.Route) -> str:
    return route.path.format(**EXAMPLES)


@pytest.mark.parametrize("route", routes.ROUTES, ids=IDS)
def test_who_may_is_said_by_documented_rules(route: routes.Route) -> None:
    operations = {
        (rule.name, operation["method"], operation["path"])
        for rule in policies.list_rules()
        for operation in getattr(rule, "operations", ())
    }
    if isinstance(route.access, policy.Public):
        assert route.path in PUBLIC
    else:
        for name in route.access:
            assert (name, route.method, route.path) in operations


def test_every_rule_belongs_to_a_route() -> None:
    used = {name for route in routes.ROUTES for name in route.access}
    documented = {rule.name for rule in policies.list_rules() if hasattr(rule, "operations")}
    assert used == documented


@pytest.mark.parametrize("route", routes.ROUTES, ids=IDS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Roles": "", "X-User-Id": "nobody"},
        {"X-Roles": "service", "X-User-Id": "nova", "X-Project-Id": "service"},
        {"X-Roles": "reader", "X-User-Id": "unscoped"},
        {"X-Roles": "member,manager", "X-User-Id": "rosa", "X-Project-Id": "red"},
    ],
    ids=["no token", "no role", "nova's own", "no project", "no reader"],
)
def test_who_has_no_business_here_is_refused(
    client: Client, route: routes.Route, headers: dict[str, str]
) -> None:
    answer = client.simulate_request(route.method, path_of(route), headers=headers)
    if route.path in PUBLIC:
        assert answer.status_code == 200
    else:
        assert answer.status_code == (403 if headers else 401)


@pytest.mark.parametrize("route", routes.ROUTES, ids=IDS)
def test_an_agent_reads_nothing(client: Client, route: routes.Route) -> None:
    if route.path not in PUBLIC and route.method == "GET":
        answer = client.simulate_get(path_of(route), headers=agent())
        assert answer.status_code == 403


@pytest.mark.parametrize("headers", [OPERATOR, RED], ids=["operator", "tenant"])
def test_nobody_but_an_agent_reports(client: Client, headers: dict[str, str]) -> None:
    answer = client.report(reports.full(reports.state()), headers)
    assert answer.status_code == 403


@pytest.mark.parametrize("route", routes.ROUTES, ids=IDS)
def test_what_one_tenant_has_another_does_not_see(client: Client, route: routes.Route) -> None:
    """Each call that both may make is made by both, on a cloud that only one of them is in."""
    mark = "a-secret-of-red"
    one = reports.instance("one", domain=mark, filesystems=(), disks=(reports.disk(source=mark),))
    client.report(reports.full(reports.state(instances=(one,))))
    service.nova_says(client.database, one.uuid, name=mark)
    if route.method != "GET" or route.path in PUBLIC:
        return
    seen = client.simulate_get(path_of(route), headers=BLUE)
    assert mark not in seen.text and one.uuid not in seen.text.replace(path_of(route), "")
    if isinstance(route.access, policy.ByProject):
        own = client.simulate_get(path_of(route), headers=RED)
        # Sums name no instance: there the two differ, if there is anything to add up.
        assert one.uuid in own.text or "/usages" in route.path
        if route.path == "/v1/usages":
            assert (_held(own), _held(seen)) == (3 * reports.GIB, 0)
        assert seen.status_code == (404 if "{" in route.path else 200)
    else:
        assert seen.status_code == 403


def _held(answer: Any) -> int:
    (usage,) = answer.json["usages"]
    held: int = usage["totals"]["host_allocated_bytes"]
    return held


def test_what_reads_for_tenants_has_to_be_told_for_whom() -> None:
    """A handler cannot forget it: the store's functions have no default for it."""
    for read in (
        store_instance.listed,
        store_instance.shown,
        store_finding.listed,
        store_usage.live,
        store_usage.listed,
        store_history.of_project,
        store_history.of_instance,
    ):
        who = inspect.signature(read).parameters["who"]
        assert who.default is inspect.Parameter.empty
        assert who.annotation == "scope.Scope"
    for handlers in (instance_handlers, finding_handlers, usage_handlers):
        calls = re.findall(
            r"store(?:_history)?\.(?:listed|shown|live|of_\w+)\(([^)]*)",
            inspect.getsource(handlers),
        )
        assert calls
        for call in calls:
            assert "call.who" in call


def test_two_nothings_are_not_everything() -> None:
    assert scope.OfProject("") != scope.Everything()
    assert isinstance(scope.Everything(), scope.Everything)
    assert not isinstance(scope.OfProject("x"), scope.Everything)

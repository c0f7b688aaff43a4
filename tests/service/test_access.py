# SPDX-License-Identifier: Apache-2.0
"""Who may do what: everybody against every route, through the real keystonemiddleware.

A route that is not in the table here fails the walk, so nobody can add one without saying who may.
"""

from __future__ import annotations

import pytest

from nova_diskaudit.api import routes
from tests.service import wire
from tests.service.people import OPERATORS, TENANTS, UNKNOWN, WHO
from tests.service.stage import HOST, Stage

EVERYBODY = frozenset(WHO)
READERS = OPERATORS | TENANTS

#: Who gets 200. Whom nobody knows gets 401 elsewhere, and everybody else 403.
MAY = {
    "GET /": EVERYBODY,
    "GET /healthcheck": EVERYBODY,
    "GET /v1/openapi.json": EVERYBODY,
    "GET /page": EVERYBODY,
    "GET /page/{file}": EVERYBODY,
    "GET /metrics": OPERATORS,
    "GET /v1/hosts": OPERATORS,
    "GET /v1/hosts/{host}": OPERATORS,
    "GET /v1/instances": READERS,
    "GET /v1/instances/{uuid}": READERS,
    "GET /v1/findings": READERS,
    "GET /v1/usages": READERS,
    "GET /v1/usages/history": READERS,
    "PUT /v1/hosts/{host}/report": frozenset({"agent"}),
}


def test_every_route_stands_in_the_table() -> None:
    assert {f"{route.method} {route.path}" for route in routes.ROUTES} == set(MAY)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("route", MAY)
def test_who_may(stage: Stage, route: str, who: str) -> None:
    method, _, path = route.partition(" ")
    target = _target(stage, path)
    answer = _do(stage, method, target, who)
    if who in MAY[route]:
        assert answer.status == 200
    elif who in UNKNOWN:
        assert (answer.status, answer.code) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Keystone uri=")
    else:
        assert (answer.status, answer.code) in REFUSED[method]
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    if answer.status >= 400:
        (error,) = answer.json()["errors"]
        assert error["request_id"] == answer.headers["x-openstack-request-id"]


#: What a refusal is called; a report has reasons of its own beside the role.
REFUSED = {
    "GET": {(403, "forbidden")},
    "PUT": {
        (403, "forbidden"),
        (403, "not-enrolled"),
        (403, "application-credential-required"),
    },
}


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT", "TRACE", "CONNECT", "BREW"])
@pytest.mark.parametrize("route", [one for one in MAY if one.startswith("GET")])
def test_nobody_writes_by_another_method(stage: Stage, route: str, method: str) -> None:
    target = _target(stage, route.partition(" ")[2])
    for who in ("nobody", "reader", "admin", "agent"):
        answer = wire.ask(stage.api.port, method, target, token=stage.people.token(who), body=b"{}")
        assert answer.status in ((401, 405, 400) if who == "nobody" else (400, 405))


@pytest.mark.parametrize("route", [one for one in MAY if one.startswith("GET")])
def test_head_is_get_without_its_body(stage: Stage, route: str) -> None:
    target = _target(stage, route.partition(" ")[2])
    token = stage.people.token("admin")
    got = wire.ask(stage.api.port, "GET", target, token=token)
    head = wire.ask(stage.api.port, "HEAD", target, token=token)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


def _target(stage: Stage, path: str) -> str:
    # Operators have to say whose past they want.
    query = f"?project_id={stage.people.project}" if path.endswith("/history") else ""
    return path.format(file="app.js", host=HOST, uuid=stage.mine[0]) + query


def _do(stage: Stage, method: str, target: str, who: str) -> wire.Answer:
    token = stage.people.token(who)
    if method == "GET":
        return wire.ask(stage.api.port, "GET", target, token=token)
    return wire.put(stage.api.port, target, stage.report(HOST), token=token)

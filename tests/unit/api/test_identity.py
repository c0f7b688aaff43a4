# SPDX-License-Identifier: Apache-2.0
"""Without Keystone: this machine, and nobody else."""

from __future__ import annotations

import pathlib

import pytest

from nova_diskaudit.api import app, identity
from nova_diskaudit.conf import ConfigurationError, service
from nova_diskaudit.store import engine
from tests import reports
from tests.unit.api.conftest import Client

ONE = reports.uuid_of("one")


def test_alone_everything_works_and_nothing_is_verified(alone: Client) -> None:
    state = reports.state(instances=(reports.instance("one"),))
    assert alone.report(reports.full(state), {}).status_code == 200
    shown = alone.see(f"/v1/instances/{ONE}", {})
    assert (shown["verified"], shown["trust"]) == (False, "unverified")
    assert shown["project_id"] == state.instances[0].project_id
    assert shown["user_id"] == state.instances[0].user_id


@pytest.mark.parametrize("path", ["/", "/healthcheck", "/v1/instances", "/metrics", "/nowhere"])
@pytest.mark.parametrize(
    "headers, peer",
    [
        ({"Host": "127.0.0.1"}, "192.0.2.1"),
        ({"Host": "127.0.0.1"}, "::ffff:192.0.2.1"),
        ({"Host": "127.0.0.1"}, ""),
        ({"Host": "127.0.0.1"}, "localhost"),
        ({"Host": "evil.example"}, "127.0.0.1"),
        ({"Host": "127.0.0.1.evil.example:8788"}, "127.0.0.1"),
        ({"Host": ""}, "127.0.0.1"),
        ({"Host": "127.0.0.1", "X-Forwarded-For": "127.0.0.1"}, "127.0.0.1"),
        ({"Host": "127.0.0.1", "Forwarded": "for=127.0.0.1"}, "127.0.0.1"),
        ({"Host": "127.0.0.1", "Via": "1.1 proxy"}, "127.0.0.1"),
    ],
)
def test_nobody_else_gets_an_answer(
    alone: Client, path: str, headers: dict[str, str], peer: str
) -> None:
    others = {name: value for name, value in headers.items() if name != "Host"}
    answer = alone.simulate_get(path, headers=others, host=headers["Host"], remote_addr=peer)
    assert answer.status_code == 403
    assert answer.json["errors"][0]["code"] == "forbidden"


@pytest.mark.parametrize(
    "host, peer",
    [
        ("127.0.0.1:8788", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("[::1]:8788", "::1"),
        ("[::1]", "::ffff:127.0.0.1"),
        ("127.9.9.9:1", "127.3.4.5"),
    ],
)
def test_names_of_this_machine(host: str, peer: str) -> None:
    assert identity.is_local({"HTTP_HOST": host, "REMOTE_ADDR": peer})


def test_headers_of_a_token_are_not_believed(alone: Client) -> None:
    answer = alone.simulate_get(
        "/v1/instances",
        headers={"X-Roles": "reader", "X-Project-Id": "red"},
    )
    assert answer.status_code == 200, "whoever is on this machine is the operator"


def test_a_host_is_never_believed_about_owners_while_there_are_tenants(
    tmp_path: pathlib.Path,
) -> None:
    conf = service.unread()
    conf([], default_config_files=[])
    conf.set_override("enabled", False, group="nova")
    database = engine.create(f"sqlite:///{tmp_path}/x.sqlite")
    with pytest.raises(ConfigurationError, match="noauth"):
        app.service_of(conf, database)
    conf.set_override("auth_strategy", "noauth", group="api")
    assert app.service_of(conf, database).nova is False
    conf.clear_override("enabled", group="nova")
    assert app.service_of(conf, database).nova is False
    conf.set_override("auth_strategy", "keystone", group="api")
    assert app.service_of(conf, database).nova is True
    database.dispose()

# SPDX-License-Identifier: Apache-2.0
"""The service while its database is away, read-only, or not what it should be."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests import reports
from tests.service import wire
from tests.service.conftest import Server
from tests.services.api import Api
from tests.services.mariadb import Mariadb
from tests.services.postgresql import Postgresql

HOST = "compute-1"
# Against a hang of the tests themselves; nothing is asserted about how long things take.
LONG = 60.0
QUESTIONS = ("/v1/instances", "/v1/hosts", "/v1/findings", "/metrics", "/healthcheck")

with_a_process = pytest.mark.parametrize("server", ["postgresql", "mariadb"], indirect=True)


@pytest.fixture
def api(url: str, engine: sa.Engine) -> Iterator[Api]:
    """On an empty store."""
    with Api({"api": {"auth_strategy": "noauth"}, "database": {"connection": url}}) as some:
        yield some


def put(api: Api) -> wire.Answer:
    state = reports.state(HOST, (reports.instance("one"),), id=reports.uuid_of("state"))
    return wire.put(api.port, f"/v1/hosts/{HOST}/report", reports.full(state))


def unavailable(answer: wire.Answer) -> None:
    assert (answer.status, answer.code) == (503, "database-unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 600
    assert b"127.0.0.1" not in answer.body  # nor anything else of the database


@with_a_process
def test_the_database_is_away_for_a_while(api: Api, server: Postgresql | Mariadb) -> None:
    server.kill()
    try:
        unavailable(put(api))
        for target in QUESTIONS:
            unavailable(wire.ask(api.port, "GET", target))
        assert wire.ask(api.port, "GET", "/").status == 200
    finally:
        server.resume()
    assert put(api).status == 200
    for target in QUESTIONS:
        assert wire.ask(api.port, "GET", target).status == 200


def test_the_service_starts_while_the_database_is_read_only(
    url: str, engine: sa.Engine, server: Server
) -> None:
    """A worker may be replaced meanwhile; one that cannot be made ends the whole of uWSGI."""
    server.set_read_only(True)
    try:
        with Api({"api": {"auth_strategy": "noauth"}, "database": {"connection": url}}) as api:
            unavailable(put(api))
            server.set_read_only(False)
            # Each worker, and each session of the database, hears of it in its own time.
            until = time.monotonic() + LONG
            while (answer := put(api)).status != 200:
                unavailable(answer)
                assert time.monotonic() < until
    finally:
        server.set_read_only(False)


@with_a_process
def test_the_service_starts_while_the_database_is_away(
    url: str, engine: sa.Engine, server: Postgresql | Mariadb
) -> None:
    """As when both come up after a power cut, or a worker is replaced in between."""
    server.kill()
    try:
        settings = {"api": {"auth_strategy": "noauth"}, "database": {"connection": url}}
        with Api(settings) as api:
            unavailable(put(api))
            server.resume()
            assert put(api).status == 200
    finally:
        if not server.is_ready():
            server.resume()


def test_the_database_is_read_only(api: Api, server: Server) -> None:
    assert put(api).status == 200
    new = reports.full(reports.state(HOST), replaces=reports.uuid_of("state"))
    server.set_read_only(True)
    try:
        unavailable(wire.put(api.port, f"/v1/hosts/{HOST}/report", new))
        for target in QUESTIONS:
            assert wire.ask(api.port, "GET", target).status == 200
        # What is there already is a replay, which writes nothing.
        assert put(api).status in (200, 503)
    finally:
        server.set_read_only(False)
    # Each session of the database hears of it in its own time.
    until = time.monotonic() + LONG
    while (answer := wire.put(api.port, f"/v1/hosts/{HOST}/report", new)).status != 200:
        unavailable(answer)
        assert time.monotonic() < until


def test_a_table_is_missing(api: Api, engine: sa.Engine) -> None:
    """A restore went wrong: agents keep what they have, and the log says what to do."""
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE sighting RENAME TO lost"))
    try:
        unavailable(put(api))
        unavailable(wire.ask(api.port, "GET", "/v1/instances"))
        assert "db sync" in api.tail()
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE lost RENAME TO sighting"))
    assert put(api).status == 200

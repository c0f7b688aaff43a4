# SPDX-License-Identifier: Apache-2.0
"""Databases of the three kinds, with the tables of the service."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import schema
from tests.service.people import People
from tests.service.stage import Stage, set_up
from tests.services.cloud import Cloud
from tests.services.keystone import Keystone
from tests.services.mariadb import Mariadb
from tests.services.postgresql import Postgresql
from tests.services.sqlite import Sqlite
from tests.unit.store.conftest import empty

Server = Sqlite | Postgresql | Mariadb
KINDS = ("sqlite", "postgresql", "mariadb")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a database on all of them, or on those that its module names in ``SERVERS``."""
    marks = metafunc.definition.iter_markers("parametrize")
    if "server" in metafunc.fixturenames and not any(mark.args[0] == "server" for mark in marks):
        kinds = getattr(metafunc.module, "SERVERS", KINDS)
        metafunc.parametrize("server", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Server:
    """The server that a test may trouble; it must be well again when the test ends."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def url(server: Server) -> Iterator[str]:
    """Of a database with the tables."""
    name = f"t{secrets.token_hex(4)}"
    url = server.create_database(name)
    engine = store_engine.create(url)
    schema.sync(engine)
    engine.dispose()
    yield url
    server.drop_database(name)


@pytest.fixture(scope="session")
def database(url: str) -> Iterator[sa.Engine]:
    engine = store_engine.create(url)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(database: sa.Engine) -> sa.Engine:
    """The service's own engine on an empty store."""
    empty(database)
    return database


@pytest.fixture(scope="session")
def people(cloud: Cloud) -> People:
    return People(cloud)


@pytest.fixture(scope="session")
def stage(keystone: Keystone, people: People, sqlite: Sqlite) -> Iterator[Stage]:
    with set_up(keystone, people, sqlite) as some:
        yield some

# SPDX-License-Identifier: Apache-2.0
"""The servers as fixtures, one of each for all the tests of a session; see tests/conftest.py."""

from collections.abc import Iterator

import pytest

from tests.services.cloud import Cloud
from tests.services.gnocchi import Gnocchi
from tests.services.keystone import Keystone
from tests.services.mariadb import Mariadb
from tests.services.memcached import Memcached
from tests.services.placement import Placement, Promises
from tests.services.postgresql import Postgresql
from tests.services.sqlite import Sqlite


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    with Postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Mariadb]:
    with Mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def memcached() -> Iterator[Memcached]:
    with Memcached() as server:
        yield server


@pytest.fixture(scope="session")
def keystone() -> Iterator[Keystone]:
    with Keystone() as server:
        yield server


@pytest.fixture(scope="session")
def cloud(keystone: Keystone) -> Cloud:
    """Who is in that Keystone."""
    some = Cloud(keystone)
    some.endpoint("identity", keystone.url, "public", "internal", "admin")
    return some


@pytest.fixture(scope="session")
def placement(keystone: Keystone, cloud: Cloud) -> Iterator[Placement]:
    service = cloud.user("placement", cloud.project("service"), "admin")
    with Placement(keystone, service) as server:
        cloud.endpoint("placement", server.url, "public", "internal")
        yield server


@pytest.fixture(scope="session")
def promises(placement: Placement, cloud: Cloud) -> Promises:
    """What is written in that Placement."""
    return Promises(placement, cloud)


@pytest.fixture(scope="session")
def gnocchi(postgresql: Postgresql) -> Iterator[Gnocchi]:
    """With its index in that PostgreSQL."""
    with Gnocchi(postgresql) as server:
        yield server


@pytest.fixture(scope="session")
def sqlite() -> Iterator[Sqlite]:
    with Sqlite() as place:
        yield place

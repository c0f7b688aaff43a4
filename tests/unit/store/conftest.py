# SPDX-License-Identifier: Apache-2.0
"""One database of each kind for all tests here; each test finds it empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import settings

from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import schema, tables

settings.register_profile("store", deadline=None)
settings.load_profile("store")

KINDS = ("sqlite",)


@pytest.fixture(scope="session", params=KINDS)
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sa.Engine]:
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/store.sqlite"
    engine = store_engine.create(url)
    schema.sync(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(database: sa.Engine) -> sa.Engine:
    empty(database)
    return database


def empty(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for table in tables.metadata.sorted_tables:
            connection.execute(sa.delete(table))

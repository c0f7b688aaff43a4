# SPDX-License-Identifier: Apache-2.0
"""A Nova over HTTP, and the store."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from nova_diskaudit.cloud import connection, nova
from nova_diskaudit.conf import service
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import schema
from tests import reports
from tests.canned import Canned
from tests.fake_nova import FakeNova


@pytest.fixture
def fake() -> Iterator[FakeNova]:
    with FakeNova(reports.NOW) as server:
        yield server


@pytest.fixture
def cloud(fake: FakeNova, tmp_path: pathlib.Path) -> nova.Nova:
    """Nova as the service would connect to it, by a configuration file."""
    file = tmp_path / "nova-diskaudit-api.conf"
    file.write_text(f"[nova]\nauth_type = none\nendpoint_override = {fake.url}\ntimeout = 5\n")
    return nova.Nova(connection.connect(service.read([str(file)])))


@pytest.fixture
def engine(tmp_path: pathlib.Path) -> Iterator[sa.Engine]:
    made = store_engine.create(f"sqlite:///{tmp_path}/store.sqlite")
    schema.sync(made)
    yield made
    made.dispose()


@pytest.fixture
def canned() -> Iterator[Canned]:
    with Canned.of_the_cloud() as server:
        yield server

# SPDX-License-Identifier: Apache-2.0
"""A client that speaks to the application without a socket."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import falcon.testing
import pytest
import sqlalchemy as sa

from nova_diskaudit import protocol
from nova_diskaudit.store import enrollment
from tests.unit.api import service

OPERATOR = {"X-Roles": "admin,reader", "X-User-Id": "olga", "X-Project-Id": "ops"}
RED = {"X-Roles": "reader,member", "X-User-Id": "rosa", "X-Project-Id": "red"}
BLUE = {"X-Roles": "reader", "X-User-Id": "bert", "X-Project-Id": "blue"}


def agent(host: str = "compute-1") -> dict[str, str]:
    """The credential that :class:`Client` enrolls for a host."""
    return {"X-Roles": "diskaudit_agent", "X-User-Id": "agent", "X-Credential": f"cred-{host}"}


_FROM_HERE = {"host": "127.0.0.1", "remote_addr": "127.0.0.1"}


class Client(falcon.testing.TestClient):
    """With the few things that tests do all the time."""

    database: sa.Engine

    def simulate_request(self, *words: Any, **options: Any) -> falcon.testing.Result:
        return super().simulate_request(*words, **_FROM_HERE | options)

    def enroll(self, host: str) -> None:
        enrollment.enroll(self.database, f"cred-{host}", host, at=0)

    def report(
        self, report: protocol.Report, headers: dict[str, str] | None = None
    ) -> falcon.testing.Result:
        return self.simulate_put(
            f"/v1/hosts/{report.host}/report",
            body=protocol.encode(report),
            headers={
                "Content-Type": "application/json",
                **(agent(report.host) if headers is None else headers),
            },
        )

    def see(self, path: str, headers: dict[str, str] = OPERATOR, **query: Any) -> Any:
        answer = self.simulate_get(path, params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text)


def made(directory: pathlib.Path, **options: Any) -> Client:
    _, application, database = service.made(directory, **options)
    # Falcon's client looks at the signature, and a middleware of webob shows none.
    client = Client(lambda environ, start_response: application(environ, start_response))
    client.database = database
    return client


@pytest.fixture
def client(tmp_path: pathlib.Path) -> Iterator[Client]:
    """With Keystone (its headers) and Nova's ledger; compute-1 and -2 have their credentials."""
    client = made(tmp_path)
    client.enroll("compute-1")
    client.enroll("compute-2")
    yield client
    client.database.dispose()


@pytest.fixture
def alone(tmp_path: pathlib.Path) -> Iterator[Client]:
    """On one machine, without Keystone and Nova."""
    client = made(tmp_path, nova=False)
    yield client
    client.database.dispose()

# SPDX-License-Identifier: Apache-2.0
"""What the protocol suite has to be able to do with a service, whoever that is.

A service that is to pass the suite gets a subclass of :class:`Service` and a function in
``SERVICES``: nothing else of the tests knows which one runs.
"""

from __future__ import annotations

import abc
import contextlib
import datetime
import http.client
import json
import pathlib
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from nova_diskaudit import protocol
from tests.servers import recording

SECONDS = 60


class Reply(msgspec.Struct, frozen=True):
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def code(self) -> str | None:
        """The code of its first error."""
        errors = self.body.get("errors") or [{}]
        code = errors[0].get("code")
        return str(code) if code is not None else None


class Service(abc.ABC):
    """A running service."""

    #: without ``/v1``
    url: str
    takeover_after_seconds: float

    def headers(self, host: str) -> dict[str, str]:
        """What a request for ``host`` needs to be allowed."""
        return {}

    @abc.abstractmethod
    def let_pass(self, seconds: float) -> None:
        """Set the service's clock forward."""

    @abc.abstractmethod
    def demand(self, host: str) -> None:
        """Demand a full report of ``host``, as after a restore."""

    @abc.abstractmethod
    def report_id(self, host: str) -> str | None:
        """The id that is current; None when the host is not known."""

    @abc.abstractmethod
    def as_of(self, host: str) -> datetime.datetime:
        """The time that the service keeps of the current report."""

    @abc.abstractmethod
    def instances(self, host: str) -> dict[str, str]:
        """The names of the domains of ``host``, by their UUIDs."""

    def path(self, host: str) -> str:
        """Where a report of ``host`` is put."""
        prefix = urllib.parse.urlsplit(self.url).path.rstrip("/")
        return f"{prefix}/v1/hosts/{urllib.parse.quote(host, safe='')}/report"

    # --- requests -----------------------------------------------------------------------------

    def put(
        self,
        host: str,
        body: bytes | Iterable[bytes],
        **headers: str | None,
    ) -> Reply:
        """PUT these bytes as a report of ``host``. A header that is None is left out."""
        sent: dict[str, str | None] = {"Content-Type": "application/json", **self.headers(host)}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        with self.connect() as connection:
            connection.request(
                "PUT",
                self.path(host),
                body,
                {key: value for key, value in sent.items() if value is not None},
                encode_chunked=not isinstance(body, bytes),
            )
            return self.read(connection)

    def send(self, report: protocol.Report) -> Reply:
        """PUT a report as an agent would."""
        return self.put(report.host, protocol.encode(report))

    @contextlib.contextmanager
    def connect(self) -> Iterator[http.client.HTTPConnection]:
        place = urllib.parse.urlsplit(self.url)
        assert place.hostname is not None
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=SECONDS)
        try:
            yield connection
        finally:
            connection.close()

    def read(self, connection: http.client.HTTPConnection) -> Reply:
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, json.loads(response.read()))


class Recording(Service):
    """The recording server, in threads."""

    def __init__(self, server: recording.Server) -> None:
        self._server = server
        self.url = server.url
        self.takeover_after_seconds = server.takeover_after_seconds

    def let_pass(self, seconds: float) -> None:
        self._server.set_forward(seconds)

    def demand(self, host: str) -> None:
        self._server.ledger.demand(host, self._server.now())

    def report_id(self, host: str) -> str | None:
        row = self._server.ledger.row(host)
        return row.report_id if row is not None else None

    def as_of(self, host: str) -> datetime.datetime:
        state = self._server.ledger.state(host)
        assert state is not None
        return state.as_of

    def instances(self, host: str) -> dict[str, str]:
        state = self._server.ledger.state(host)
        return {one.uuid: one.domain for one in state.instances} if state is not None else {}


@contextlib.contextmanager
def recording_service(directory: pathlib.Path) -> Iterator[Service]:
    with recording.serve(directory / "chain.sqlite") as server:
        yield Recording(server)


#: Every service that has to pass, by a name for the tests.
SERVICES: dict[str, Callable[[pathlib.Path], AbstractContextManager[Service]]] = {
    "recording": recording_service,
}

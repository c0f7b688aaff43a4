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
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import sqlalchemy as sa
from waitress import wasyncore

from nova_diskaudit import protocol
from nova_diskaudit.api import app
from nova_diskaudit.conf import service as conf_service
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import host as store_host
from nova_diskaudit.store import schema
from nova_diskaudit.wsgi import server
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


class Central(Service):
    """The central service itself, in the server that ``nova-diskaudit-api`` runs it in."""

    def __init__(self, url: str, engine: sa.Engine, takeover_after_seconds: float) -> None:
        self.url = url
        self.takeover_after_seconds = takeover_after_seconds
        self._engine = engine
        self._ahead = datetime.timedelta()

    def now(self) -> datetime.datetime:
        """The service's clock."""
        return datetime.datetime.now(datetime.UTC) + self._ahead

    def let_pass(self, seconds: float) -> None:
        self._ahead += datetime.timedelta(seconds=seconds)

    def demand(self, host: str) -> None:
        store_host.demand_full(self._engine, host, new_id=lambda: str(uuid.uuid4()))

    def report_id(self, host: str) -> str | None:
        reply = self._get(f"/v1/hosts/{urllib.parse.quote(host, safe='')}")
        if reply.status == 404:
            return None
        return str(reply.body["report_id"])

    def as_of(self, host: str) -> datetime.datetime:
        reply = self._get(f"/v1/hosts/{urllib.parse.quote(host, safe='')}")
        return datetime.datetime.fromisoformat(reply.body["as_of"])

    def instances(self, host: str) -> dict[str, str]:
        query = urllib.parse.urlencode({"host": host, "fields": "uuid,domain"})
        reply = self._get(f"/v1/instances?{query}")
        assert reply.body["instances_links"] == []
        return {one["uuid"]: one["domain"] for one in reply.body["instances"]}

    def _get(self, path: str) -> Reply:
        with self.connect() as connection:
            connection.request("GET", path)
            return self.read(connection)


@contextlib.contextmanager
def central_service(directory: pathlib.Path) -> Iterator[Service]:
    conf = conf_service.unread()
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("auth_strategy", "noauth", group="api")
    engine = store_engine.create(f"sqlite:///{directory}/central.sqlite")
    schema.sync(engine)
    made = app.service_of(conf, engine)
    running = Central("", engine, made.takeover_after_seconds)
    application = app.build(conf, made._replace(now=running.now))
    listening = server.listen(application, host="127.0.0.1", port=0, threads=8)
    thread = threading.Thread(target=listening.run, daemon=True)
    thread.start()
    running.url = f"http://127.0.0.1:{listening.effective_port}"

    def end() -> None:
        # The loop lasts as long as anything is open, and clients keep their connections.
        listening.close()
        wasyncore.close_all(listening._map)

    try:
        yield running
    finally:
        # A loop that is awake closes, and its trigger with it, before the trigger is pulled.
        with contextlib.suppress(OSError):
            listening.trigger.pull_trigger(end)
        thread.join(30)
        assert not thread.is_alive()
        engine.dispose()


#: Every service that has to pass, by a name for the tests.
SERVICES: dict[str, Callable[[pathlib.Path], AbstractContextManager[Service]]] = {
    "central": central_service,
    "recording": recording_service,
}

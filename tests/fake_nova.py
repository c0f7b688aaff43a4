# SPDX-License-Identifier: Apache-2.0
"""A small Nova over real HTTP: the four answers that the map of Nova is made of.

It pages, filters and leaves out cells that are down as the real one does by its API guide; what
the real one answers is seen in ``tests/cloud``.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import threading
import urllib.parse
import wsgiref.simple_server
from typing import Any

_PATHS = ("/servers/detail", "/os-migrations", "/os-services")


class _Bare(wsgiref.simple_server.ServerHandler):
    def send_preamble(self) -> None:
        # Without the Date that wsgiref adds to every answer.
        self._write(f"HTTP/1.0 {self.status}\r\n".encode())


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if self.parse_request():
            handler = _Bare(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
            handler.request_handler = self  # type: ignore[attr-defined] # as wsgiref does
            handler.run(self.server.get_app())

    def log_message(self, format: str, *words: Any) -> None:
        pass


class FakeNova:
    """Servers and migrations that a test changes; ``now`` is its clock."""

    def __init__(self, now: datetime.datetime) -> None:
        self.now = now
        self.page = 3
        #: whether answers have a date: under uWSGI alone they have none
        self.dated = True
        #: how long ago the computes gave a sign of life
        self.heartbeat = datetime.timedelta(seconds=7)
        self.servers: dict[str, dict[str, Any]] = {}
        self.migrations: list[dict[str, Any]] = []
        self.hosts = {"a": "cell1", "b": "cell1", "c": "cell2"}
        self.down: set[str] = set()
        self.asked: list[str] = []
        self.methods: set[str] = set()
        #: answers that come before any other: a path's end, and what is sent
        self.faults: list[tuple[str, int, bytes]] = []
        #: run before an answer to a path that ends so
        self.before: dict[str, Any] = {}
        self._server = wsgiref.simple_server.make_server("127.0.0.1", 0, self, handler_class=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v2.1"

    def __enter__(self) -> FakeNova:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # --- what a test does -------------------------------------------------------------------

    def boot(self, uuid: str, host: str | None, project: str = "red", **changes: Any) -> None:
        self.servers[uuid] = {
            "id": uuid,
            "name": "web",
            "status": "ACTIVE",
            "tenant_id": project,
            "user_id": "rosa",
            "OS-EXT-SRV-ATTR:host": host,
            "OS-EXT-STS:task_state": None,
            "flavor": {"disk": 20, "ephemeral": 0, "swap": 0, "vcpus": 1},
            "cell": self.hosts.get(host or "", "cell1"),
            **changes,
            "at": self.now,
        }

    def change(self, uuid: str, **changes: Any) -> None:
        self.servers[uuid] |= {**changes, "at": self.now}

    def move(self, uuid: str, host: str) -> None:
        self.change(uuid, **{"OS-EXT-SRV-ATTR:host": host})

    def migrate(self, uuid: str, source: str, destination: str | None, status: str) -> None:
        """One migration of an instance, in its newest state."""
        self.migrations = [one for one in self.migrations if one["instance_uuid"] != uuid]
        self.migrations.append(
            {
                "uuid": f"m-{uuid}",
                "instance_uuid": uuid,
                "source_compute": source,
                "dest_compute": destination,
                "status": status,
            }
        )

    # --- what it answers ----------------------------------------------------------------------

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"].removeprefix("/v2.1")
        self.methods.add(environ["REQUEST_METHOD"])
        query = dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", "")))
        if path in ("", "/"):
            return self._discovery(start_response)
        self.asked.append(path)
        self.methods.add(environ["REQUEST_METHOD"])
        if path in self.before:
            self.before[path]()
        status, data = 200, b""
        if self.faults and path.endswith(self.faults[0][0]):
            _, status, data = self.faults.pop(0)
        elif path not in _PATHS or environ.get("HTTP_OPENSTACK_API_VERSION") != "compute 2.69":
            status, data = 404, b"{}"
        else:
            answers = {
                "/servers/detail": self._servers,
                "/os-migrations": self._migrations,
                "/os-services": self._services,
            }
            status, answer = answers[path](query)
            data = json.dumps(answer).encode()
        headers = [("Content-Type", "application/json")]
        if self.dated:
            headers.append(("Date", email.utils.format_datetime(self.now, usegmt=True)))
        start_response(f"{status} X", headers)
        return [data]

    def _discovery(self, start_response: Any) -> list[bytes]:
        version = {
            "id": "v2.1",
            "status": "CURRENT",
            "version": "2.96",
            "min_version": "2.1",
            "links": [{"rel": "self", "href": self.url}],
        }
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"version": version}).encode()]

    def _servers(self, query: dict[str, str]) -> tuple[int, Any]:
        assert query["all_tenants"] == "true"
        found = sorted(self.servers.values(), key=lambda one: one["id"])
        # By its API guide: with a limit or a filter, cells that are down are left out silently.
        found = [one for one in found if one["cell"] not in self.down]
        if "changes-since" in query:
            since = datetime.datetime.fromisoformat(query["changes-since"])
            found = [one for one in found if one["at"] >= since]
        else:
            found = [one for one in found if one["status"] != "DELETED"]
            if query.get("soft_deleted") != "true":
                found = [one for one in found if one["status"] != "SOFT_DELETED"]
        return self._paged(found, "servers", "id", query)

    def _migrations(self, query: dict[str, str]) -> tuple[int, Any]:
        found = [one for one in self.migrations if one["status"] == query["status"]]
        return self._paged(found, "migrations", "uuid", query)

    def _services(self, query: dict[str, str]) -> tuple[int, Any]:
        assert query == {"binary": "nova-compute"}
        seen = (self.now - self.heartbeat).replace(tzinfo=None).isoformat(timespec="microseconds")
        well = {"status": "enabled", "state": "up", "updated_at": seen}
        services = [
            {"binary": "nova-compute", "host": host}
            | ({"status": "UNKNOWN"} if cell in self.down else well)
            for host, cell in self.hosts.items()
        ]
        return 200, {"services": services}

    def _paged(
        self, found: list[dict[str, Any]], noun: str, key: str, query: dict[str, str]
    ) -> tuple[int, Any]:
        if "marker" in query:
            keys = [one[key] for one in found]
            if query["marker"] not in keys:
                return 400, {"badRequest": {"message": "marker not found"}}
            found = found[keys.index(query["marker"]) + 1 :]
        limit = min(self.page, int(query["limit"]))
        page = [
            {name: value for name, value in one.items() if name not in ("at", "cell")}
            for one in found[:limit]
        ]
        answer: dict[str, Any] = {noun: page}
        if len(found) > limit:
            answer[f"{noun}_links"] = [{"rel": "next", "href": "http://elsewhere.example/"}]
        return 200, answer

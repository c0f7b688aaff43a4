# SPDX-License-Identifier: Apache-2.0
"""Keystone, as far as a client needs it: tokens with a catalog. It believes what it is told to."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tests.servers.recording import Seen


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the catalog."""

    url: str
    type: str = "disk-audit"
    name: str = "diskaudit"
    region: str = "RegionOne"
    interface: str = "public"


class Keystone(http.server.ThreadingHTTPServer):
    """``refuse`` looks at the body of a token request and may return a status."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tls = tls
        self.catalog: list[Endpoint] = []
        self.requests: list[Seen] = []
        self.tokens: set[str] = set()
        self.refuse: Callable[[dict[str, Any]], int | None] = lambda body: None
        #: instead of an answer: bytes, over and over, with a pause of so many seconds
        self.drips: tuple[bytes, float] | None = None
        self.ending = threading.Event()

    @property
    def url(self) -> str:
        scheme = "https" if self.tls is not None else "http"
        return f"{scheme}://127.0.0.1:{self.server_address[1]}/v3"

    def authorize(self, seen: Seen) -> int | None:
        """For the service: whether a request carries a token that is still one."""
        return None if seen.headers.get("x-auth-token") in self.tokens else 401

    def bodies(self) -> list[dict[str, Any]]:
        """What was said to get a token, each time."""
        return [json.loads(seen.body) for seen in self.requests if seen.method == "POST"]

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what the tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    server: Keystone
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        """The tests look at what was seen."""

    def do_GET(self) -> None:
        self._saw(b"")
        version = {"id": "v3.14", "status": "stable"}
        version |= {"links": [{"rel": "self", "href": f"{self.server.url}/"}]}  # type: ignore[dict-item]
        self._answer(200, {"version": version})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._saw(body)
        if self.server.drips is not None:
            data, seconds = self.server.drips
            self.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: 1099511627776\r\n\r\n")
            while not self.server.ending.wait(seconds):
                self.wfile.write(data)
            return
        asked = json.loads(body)
        refused = self.server.refuse(asked)
        if refused is not None:
            message = "The request you have made requires authentication."
            self._answer(refused, {"error": {"code": refused, "message": message}})
            return
        token = uuid.uuid4().hex
        self.server.tokens.add(token)
        now = datetime.datetime.now(datetime.UTC)
        answer = {
            "token": {
                "methods": asked["auth"]["identity"]["methods"],
                "user": {"id": "u", "name": "agent", "domain": {"id": "d", "name": "Default"}},
                "project": {"id": "p", "name": "service", "domain": {"id": "d", "name": "D"}},
                "roles": [{"id": "r", "name": "diskaudit_agent"}],
                "issued_at": now.isoformat(),
                "expires_at": (now + datetime.timedelta(hours=1)).isoformat(),
                "catalog": self._catalog(),
            }
        }
        self._answer(201, answer, {"X-Subject-Token": token})

    def _catalog(self) -> list[dict[str, Any]]:
        services: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for one in self.server.catalog:
            services.setdefault((one.type, one.name), []).append(
                {
                    "id": uuid.uuid4().hex,
                    "interface": one.interface,
                    "region": one.region,
                    "region_id": one.region,
                    "url": one.url,
                }
            )
        return [
            {"id": uuid.uuid4().hex, "type": type, "name": name, "endpoints": endpoints}
            for (type, name), endpoints in services.items()
        ]

    def _saw(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Seen(self.command, self.path, headers, body))

    def _answer(
        self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def serve(tls: ssl.SSLContext | None = None) -> Iterator[Keystone]:
    """A Keystone in threads of this process."""
    server = Keystone(tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()

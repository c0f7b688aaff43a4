# SPDX-License-Identifier: Apache-2.0
"""A central service that only takes reports, records their chain, and misbehaves on order.

In a test::

    with recording.serve(path) as server:
        server.order("drop-answer")
        ...
        assert ledger.problems(server.ledger.links()) == []

As a process of its own, which may be killed at any moment and started again on the same file::

    python -m tests.servers.recording --database chain.sqlite --port 8788
    python -m tests.servers.recording --show chain.sqlite

Every order is for one PUT, in the order given; with ``--chaos`` they are made at random. Over
HTTP, orders are given by ``POST /_orders`` with a list of them, and the server's clock is set
forward by ``POST /_clock`` with a number of seconds.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime
import http.server
import json
import math
import pathlib
import random
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import msgspec

from nova_diskaudit import protocol
from tests.servers import ledger

TAKEOVER_AFTER_SECONDS = 900.0

Kind = Literal[
    "close",  # nothing is done, nothing is answered: the request was lost
    "hang",  # nothing is done, nothing is answered, and the connection stays open
    "status",  # nothing is done, an error is answered
    "redirect",  # nothing is done, the client is sent elsewhere
    "late",  # it is done later; the client has long been told nothing
    "drop-answer",  # it is done, and not answered
    "double",  # it is done twice, as if the network had doubled it
    "slow",  # it is done, and answered later
    "drip-head",  # it is done, and answered a byte at a time
    "drip-body",
    "wrong-json",  # it is done, and answered with something else
    "wrong-current",
    "cut-body",  # it is done, and the connection ends before the body does
    "endless",  # it is done, and the body never ends
]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to do wrong with one PUT."""

    kind: Kind
    seconds: float = 0.2
    status: int = 503
    code: str | None = None
    retry_after: str | None = None
    location: str = "http://127.0.0.1:1/"


class Seen(msgspec.Struct, frozen=True):
    """A request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    client_certificate: str | None = None
    cipher: str | None = None


class Server(http.server.ThreadingHTTPServer):
    """See the module. ``authorize`` may refuse a request by a status."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        database: pathlib.Path,
        *,
        port: int = 0,
        takeover_after_seconds: float = TAKEOVER_AFTER_SECONDS,
        authorize: Callable[[Seen], int | None] = lambda seen: None,
        tls: ssl.SSLContext | None = None,
        chaos: Callable[[], Order | None] = lambda: None,
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.tls = tls
        self.ledger = ledger.Ledger(database)
        self.takeover_after_seconds = takeover_after_seconds
        self.authorize = authorize
        self.seen: collections.deque[Seen] = collections.deque(maxlen=1000)
        self.ending = threading.Event()
        self._chaos = chaos
        self._orders: collections.deque[Order] = collections.deque()
        self._ahead = datetime.timedelta(0)

    @property
    def url(self) -> str:
        scheme = "https" if self.tls is not None else "http"
        return f"{scheme}://127.0.0.1:{self.server_address[1]}"

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + self._ahead

    def set_forward(self, seconds: float) -> None:
        self._ahead += datetime.timedelta(seconds=seconds)

    def order(self, kind: Kind, times: int = 1, **details: Any) -> None:
        self._orders.extend([Order(kind=kind, **details)] * times)

    def give(self, orders: list[Order]) -> None:
        self._orders.extend(orders)

    def next_order(self) -> Order | None:
        try:
            return self._orders.popleft()
        except IndexError:
            return self._chaos()

    def get_request(self) -> tuple[Any, Any]:
        """TLS is spoken in the thread of the connection: a handshake may take its time."""
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Who went away is no defect, and nobody waits for an answer at the end.
        if not self.ending.is_set() and not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        """The tests look at what was seen, nobody at a log."""

    def do_PUT(self) -> None:
        body = self._body()
        if body is None:
            return
        seen = self._saw(body)
        order = self.server.next_order()
        if order is not None and self._before(order):
            return
        status, headers, answer = self._put(seen)
        if order is None:
            self._answer(status, answer, headers)
        else:
            self._after(order, seen, status, headers, answer)

    def do_GET(self) -> None:
        seen = self._saw(b"")
        refused = self.server.authorize(seen)
        if refused is not None:
            self._answer(refused, _error(refused, "refused", "not allowed"))
            return
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        words = [urllib.parse.unquote(word) for word in url.path.split("/")[1:]]
        match words:
            case ["v1", "hosts"]:
                self._page("hosts", [self._host(name) for name in self.server.ledger.hosts()])
            case ["v1", "hosts", name] if self.server.ledger.row(name) is not None:
                self._answer(200, self._host(name))
            case ["v1", "instances"]:
                found = [
                    one
                    for name in self.server.ledger.hosts()
                    for one in self._instances(name)
                    if all(one.get(key, value) == value for key, value in query.items())
                ]
                self._page("instances", found)
            case ["v1", "instances", wanted]:
                for name in self.server.ledger.hosts():
                    for one in self._instances(name):
                        if one["uuid"] == wanted:
                            self._answer(200, one)
                            return
                self._answer(404, _error(404, "not-found", "no such instance"))
            case _:
                self._answer(404, _error(404, "not-found", "no such path"))

    def do_POST(self) -> None:
        body = self._body() or b""
        match self.path:
            case "/_orders":
                self.server.give(msgspec.json.decode(body, type=list[Order]))
            case "/_clock":
                self.server.set_forward(float(body))
        self._answer(200, {})

    # --- reports ------------------------------------------------------------------------------

    def _put(self, seen: Seen) -> tuple[int, dict[str, str], dict[str, Any]]:
        words = [urllib.parse.unquote(word) for word in seen.target.split("/")[1:]]
        if len(words) != 4 or [words[0], words[1], words[3]] != ["v1", "hosts", "report"]:
            return 404, {}, _error(404, "not-found", "no such path")
        refused = self.server.authorize(seen)
        if refused is not None:
            return refused, {}, _error(refused, "refused", "not allowed")
        kind = seen.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return 415, {}, _error(415, "content-type", "a report is application/json")
        try:
            data = protocol.unpack(seen.body, seen.headers.get("content-encoding", ""))
            report = protocol.decode_report(data, path_host=words[2])
        except protocol.ReportInvalid as error:
            return error.status, {}, _error(error.status, "report-invalid", str(error))
        judgement = self.server.ledger.put(
            report, self.server.now(), self.server.takeover_after_seconds
        )
        match judgement:
            case protocol.Held(retry_after_seconds=seconds):
                detail = "another agent reports for this host"
                wait = {"Retry-After": str(seconds)}
                return 409, wait, _error(409, "host-held", detail)
            case protocol.ChainBroken(current=current):
                detail = "another report is current"
                return 409, {}, _error(409, "report-chain", detail) | {"current": current}
        return 200, {}, {"current": report.id}

    def _before(self, order: Order) -> bool:
        """What happens instead of a report; whether that was all."""
        match order.kind:
            case "close":
                self._cut()
            case "hang":
                self.server.ending.wait()
                self._cut()
            case "status":
                headers = {"Retry-After": order.retry_after} if order.retry_after else {}
                code = order.code or "ordered"
                self._answer(order.status, _error(order.status, code, "as ordered"), headers)
            case "redirect":
                self._answer(307, {}, {"Location": order.location})
            case "late":
                # The connection ends now, the report is looked at when it seems long lost.
                self.connection.shutdown(socket.SHUT_RDWR)
                return self.server.ending.wait(order.seconds)
            case _:
                return False
        return True

    def _after(
        self, order: Order, seen: Seen, status: int, headers: dict[str, str], answer: dict[str, Any]
    ) -> None:
        body = json.dumps(answer).encode()
        match order.kind:
            case "drop-answer" | "late":
                self._cut()
            case "double":
                self._answer(*_in_order(self._put(seen)))
            case "slow":
                self.server.ending.wait(order.seconds)
                self._answer(status, answer, headers)
            case "drip-head":
                self._drip(b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 60000, order.seconds)
            case "drip-body":
                self._head(status, len(body) + 60000, headers)
                self._drip(body + b" " * 60000, order.seconds)
            case "wrong-json":
                self._raw(status, b'<html>{"current": ', headers)
            case "wrong-current":
                self._answer(status, {**answer, "current": str(uuid.uuid4())}, headers)
            case "cut-body":
                self._head(status, len(body) + 1000, headers)
                self.wfile.write(body[: len(body) // 2])
                self._cut()
            case "endless":
                self._head(status, 2**40, headers)
                while not self.server.ending.is_set():
                    self.wfile.write(b" " * 2**16)

    # --- bytes --------------------------------------------------------------------------------

    def _body(self) -> bytes | None:
        """The body, as much as a report may have; None when it was refused."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self._refuse(411, "length-required", "Content-Length is needed")
            return None
        if int(length) > protocol.MAX_REPORT_BYTES:
            self._refuse(413, "too-large", f"more than {protocol.MAX_REPORT_BYTES} bytes")
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionError("the client went away in the middle of its report")
        return body

    def _refuse(self, status: int, code: str, detail: str) -> None:
        self.close_connection = True
        self._answer(status, _error(status, code, detail), {"Connection": "close"})
        # Until the client has read it: bytes that nobody reads would make the kernel reset.
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(1)
        with contextlib.suppress(OSError):
            until = time.monotonic() + 5
            while self.connection.recv(2**16) and time.monotonic() < until:
                pass

    def _saw(self, body: bytes) -> Seen:
        certificate = cipher = None
        if isinstance(self.connection, ssl.SSLSocket):
            peer: Any = self.connection.getpeercert() or {}
            names = [value for ((key, value),) in peer.get("subject", ()) if key == "commonName"]
            certificate = names[0] if names else None
            cipher = (self.connection.cipher() or (None,))[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, self.path, headers, body, certificate, cipher)
        self.server.seen.append(seen)
        return seen

    def _answer(
        self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        self._raw(status, json.dumps(body).encode(), headers or {})

    def _raw(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._head(status, len(body), headers)
        self.wfile.write(body)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _drip(self, data: bytes, seconds: float) -> None:
        for position in range(len(data)):
            if self.server.ending.wait(seconds):
                break
            self.wfile.write(data[position : position + 1])

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):  # it may be cut already
            self.connection.shutdown(socket.SHUT_RDWR)

    # --- what is known ------------------------------------------------------------------------

    def _host(self, name: str) -> dict[str, Any]:
        row, state = self.server.ledger.row(name), self.server.ledger.state(name)
        assert row is not None
        return {
            "name": name,
            "report_id": row.report_id,
            "agent": row.agent,
            "received_at": row.received_at.isoformat(),
            "as_of": state.as_of.isoformat() if state is not None else None,
            "storages": msgspec.to_builtins(state.storages) if state is not None else [],
            "findings": msgspec.to_builtins(state.findings) if state is not None else [],
        }

    def _instances(self, host: str) -> list[dict[str, Any]]:
        state = self.server.ledger.state(host)
        if state is None:
            return []
        report = protocol.resolved(state)
        return [{**msgspec.to_builtins(one), "host": host} for one in report.instances]

    def _page(self, key: str, found: list[dict[str, Any]]) -> None:
        """Keyset paging by the id, with a link to the next page."""
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        by = {"hosts": "name", "instances": "uuid"}[key]
        found = sorted(found, key=lambda one: str(one[by]))
        marker, limit = query.get("marker"), int(query.get("limit", "2"))
        rest = [one for one in found if marker is None or one[by] > marker]
        page: dict[str, Any] = {key: rest[:limit], "links": []}
        if len(rest) > limit:
            following = urllib.parse.urlencode({**query, "marker": rest[limit - 1][by]})
            page["links"] = [{"rel": "next", "href": f"{self.server.url}{url.path}?{following}"}]
        self._answer(200, page)


def _in_order(
    made: tuple[int, dict[str, str], dict[str, Any]],
) -> tuple[int, dict[str, Any], dict[str, str]]:
    status, headers, answer = made
    return status, answer, headers


def _error(status: int, code: str, detail: str) -> dict[str, Any]:
    title = http.HTTPStatus(status).phrase
    error = {"status": status, "code": code, "title": title, "detail": detail}
    return {"errors": [error | {"request_id": f"req-{uuid.uuid4()}"}]}


@contextlib.contextmanager
def serve(database: pathlib.Path, **options: Any) -> Iterator[Server]:
    """A server in threads of this process."""
    server = Server(database, **options)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()
        server.ledger.close()


def random_orders(seed: int, probability: float) -> Callable[[], Order | None]:
    """Orders at random, of the kinds that an agent gets over in less than a second."""
    rng = random.Random(seed)
    quick = ("close", "status", "late", "drop-answer", "double", "slow", "wrong-json", "cut-body")

    def make() -> Order | None:
        if rng.random() >= probability:
            return None
        kind: Any = rng.choice(quick)
        return Order(
            kind=kind,
            seconds=rng.random(),
            status=rng.choice([401, 403, 404, 408, 429, 500, 502, 503, 504]),
            retry_after="1",
        )

    return make


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--database", type=pathlib.Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--takeover-after", type=float, default=TAKEOVER_AFTER_SECONDS)
    parser.add_argument("--chaos", type=float, default=0.0, metavar="PROBABILITY")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=pathlib.Path, metavar="DATABASE")
    wanted = parser.parse_args()
    if wanted.show is not None:
        links = ledger.Ledger(wanted.show).links()
        for link in links:
            print(msgspec.json.encode(link).decode())
        wrong = ledger.problems(links)
        print("\n".join(wrong) or "the chain is linear", file=sys.stderr)
        return 1 if wrong else 0
    if wanted.database is None or not math.isfinite(wanted.chaos):
        parser.error("--database or --show is needed")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with serve(
        wanted.database,
        port=wanted.port,
        takeover_after_seconds=wanted.takeover_after,
        chaos=random_orders(wanted.seed, wanted.chaos),
    ) as server:
        print(json.dumps({"url": server.url}), flush=True)
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""``/metrics`` for Prometheus: one text, to anybody who can connect.

A request's head is bounded in bytes and in time, its body is never read, and every connection
ends with its answer.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from nova_diskaudit.agent import serving
from nova_diskaudit.conf import ConfigurationError

LOG = logging.getLogger(__name__)

_MOST_HEAD_BYTES = 16 * 1024
_MOST_CLIENTS = 8
_CLIENT_SECONDS = 20.0
_RETRY_SECONDS = 30.0
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
# RFC 9112 section 3: method SP request-target SP HTTP-version
_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


def parse_listen(text: str) -> tuple[str, int] | None:
    """``127.0.0.1:9752`` or ``[::1]:9752`` as address and port; None for an empty text.

    :raises ConfigurationError: for anything else.
    """
    if not text.strip():
        return None
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if (
        not colon
        or not host
        or not host.isprintable()
        or " " in host
        or any(bracket in host for bracket in "[]")
        or (":" in host) != bracketed
        or not _PORT.fullmatch(port)
        or int(port) > 65535
    ):
        raise ConfigurationError(
            f"[exporter] listen: {text!r} is not ADDRESS:PORT, such as 127.0.0.1:9752 or [::1]:9752"
        )
    return host, int(port)


class Exporter:
    """The endpoint; an empty ``listen`` is none.

    :param text: makes the page, at each request; one at a time.
    :raises ConfigurationError: when ``listen`` is no address.
    """

    def __init__(self, listen: str, text: Callable[[], bytes | str]) -> None:
        self._place = parse_listen(listen)
        self._listen = listen
        self._text = text
        self._making = threading.Lock()
        self._mutex = threading.Lock()
        self._stop = threading.Event()
        self._server: serving.Server | None = None
        #: address and port that are served, None while they are not
        self.address: tuple[str, int] | None = None

    def start(self) -> None:
        """Serve from now on, or as soon as the address is free; returns at once."""
        if self._place is None:
            return
        problem = self._bind()
        if problem is not None:
            LOG.error(
                "No /metrics: cannot listen on %s: %s; it is tried again every %d s",
                self._listen,
                problem,
                _RETRY_SECONDS,
            )
            threading.Thread(target=self._bind_later, name="exporter bind", daemon=True).start()

    def close(self) -> None:
        """Serve no more."""
        self._stop.set()
        with self._mutex:
            server, self._server, self.address = self._server, None, None
        if server is not None:
            server.close()

    def _bind_later(self) -> None:
        while not self._stop.wait(_RETRY_SECONDS):
            if self._bind() is None:
                return

    def _bind(self) -> str | None:
        """Why it did not work; None when it did."""
        assert self._place is not None
        listening: socket.socket | None = None
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                *self._place, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listening = socket.socket(family, kind, protocol)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            with self._mutex:
                if self._stop.is_set():
                    listening.close()
                    return None
                self._server = serving.Server(
                    "exporter",
                    listening,
                    self._answer,
                    most_clients=_MOST_CLIENTS,
                    seconds=_CLIENT_SECONDS,
                )
                host, port, *_ = listening.getsockname()
                self.address = (host, port)
        except (OSError, UnicodeError) as error:
            if listening is not None:
                listening.close()
            return getattr(error, "strerror", None) or str(error)
        LOG.info("Serving /metrics on %s port %d", host, port)
        return None

    def _answer(self, client: socket.socket, until: float) -> None:
        status, body, content_type, with_body = self._respond(_head(client, until))
        head = (
            f"HTTP/1.1 {status}\r\n"
            f"Content-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\n"
        )
        serving.send_all(client, head.encode() + (body if with_body else b""), until)
        # What the client still sends would otherwise make the kernel reset the connection, and
        # the answer would be lost on its way (RFC 9112 section 9.6).
        client.shutdown(socket.SHUT_WR)
        client.settimeout(min(1.0, serving.remaining(until)))
        with contextlib.suppress(TimeoutError):
            client.recv(_MOST_HEAD_BYTES)

    def _respond(self, head: bytes | None) -> tuple[str, bytes, str, bool]:
        """Status, body, its type, and whether the body is sent."""
        plain = "text/plain; charset=utf-8"
        if head is None:
            return "431 Request Header Fields Too Large", b"request too large\n", plain, True
        request = _REQUEST.fullmatch(head.partition(b"\n")[0].rstrip(b"\r"))
        if request is None:
            return "400 Bad Request", b"not an HTTP/1 request\n", plain, True
        method, path = request[1], request[2].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return "405 Method Not Allowed\r\nAllow: GET, HEAD", b"only GET\n", plain, True
        with_body = method == b"GET"
        if path == b"/":
            return "200 OK", b"nova-diskaudit agent: see /metrics\n", plain, with_body
        if path != b"/metrics":
            return "404 Not Found", b"only /metrics is here\n", plain, with_body
        try:
            with self._making:
                text = self._text()
        except Exception:
            LOG.exception("No text for /metrics, by a defect of ours")
            return "500 Internal Server Error", b"see the agent's log\n", plain, with_body
        body = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
        return "200 OK", body, CONTENT_TYPE_PLAIN_0_0_4, with_body


def _head(client: socket.socket, until: float) -> bytes | None:
    """What the client sent up to the first empty line; None when there is too much of it."""
    head = b""
    while not _END_OF_HEAD.search(head):
        if len(head) > _MOST_HEAD_BYTES:
            return None
        client.settimeout(serving.remaining(until))
        piece = client.recv(4096)
        if not piece:
            raise ConnectionError("the request did not end")
        head += piece
    return head if len(head) <= _MOST_HEAD_BYTES else None

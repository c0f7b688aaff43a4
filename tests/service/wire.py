# SPDX-License-Identifier: Apache-2.0
"""HTTP as it goes over the wire, so that a test can send what no library would."""

from __future__ import annotations

import dataclasses
import gzip
import json
import socket
from collections.abc import Iterable
from typing import Any

from nova_diskaudit import protocol


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back; ``headers`` by their names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The stable word of an error in the form of the API guidelines."""
        (error,) = self.json()["errors"]
        assert error["status"] == self.status
        assert error["title"] and error["detail"]
        found: str = error["code"]
        return found


def ask(
    port: int,
    method: str,
    target: str | bytes,
    *,
    token: str | None = None,
    headers: Iterable[tuple[str, str | bytes]] = (),
    body: bytes | Iterable[bytes] | None = None,
    timeout: float = 60,
) -> Answer:
    """One request on a connection of its own; ``target`` and ``headers`` go as they are.

    :param body: pieces are sent as they come; a length that nobody gave is not sent either.
    """
    words: list[tuple[str, str | bytes]] = [("Host", f"127.0.0.1:{port}"), *headers]
    given = {name.lower() for name, _ in words}
    if token is not None:
        words.append(("X-Auth-Token", token))
    if isinstance(body, bytes) and "content-length" not in given:
        words.append(("Content-Length", str(len(body))))
    words.append(("Connection", "close"))
    head = b"%s %s HTTP/1.1\r\n" % (method.encode(), _bytes(target))
    head += b"".join(b"%s: %s\r\n" % (name.encode(), _bytes(value)) for name, value in words)
    with socket.create_connection(("127.0.0.1", port), timeout) as wire:
        try:
            wire.sendall(head + b"\r\n")
            for piece in (body,) if isinstance(body, bytes) else body or ():
                wire.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # Refused before all was said; the answer is there all the same.
        return _answer(wire)


def put(
    port: int,
    target: str | bytes,
    report: protocol.Report,
    *,
    token: str | None = None,
    headers: Iterable[tuple[str, str | bytes]] = (),
) -> Answer:
    """Send a report as an agent does."""
    packed = gzip.compress(protocol.encode(report))
    words = [("Content-Type", "application/json"), ("Content-Encoding", "gzip"), *headers]
    return ask(port, "PUT", target, token=token, headers=words, body=packed)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _answer(wire: socket.socket) -> Answer:
    said = bytearray()
    try:
        while piece := wire.recv(2**16):
            said += piece
    except ConnectionResetError:
        if not said:
            raise
    head, _, body = bytes(said).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return Answer(int(first.split()[1]), headers, body)


def _joined(chunks: bytes) -> bytes:
    body = bytearray()
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        body += chunks[: int(size, 16)]
        chunks = chunks[int(size, 16) + 2 :]
    return bytes(body)

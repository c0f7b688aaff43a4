# SPDX-License-Identifier: Apache-2.0
"""Frames between a lane and its parent: four bytes of length, then msgpack.

One request for one or several things, and an answer for each of them in the same order: in one
reply, or in several when one of them takes long. Both sides decode into declared types, and a frame
has a bound, so that a child which was taken over by what it reads can at worst give a wrong answer.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

MAX_FRAME_BYTES = 32 * 2**20
_LENGTH_BYTES = 4
#: of all things of a question, and of one answer, so that a frame has room for them
MAX_CONTENT_BYTES = MAX_FRAME_BYTES - 2**16

#: serial of the frame a child sends when it is ready to be asked
READY = 0


#: what decoding raises for bytes of any other form
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Request(msgspec.Struct, frozen=True, array_like=True):
    """One operation; each of ``things`` is the encoded tuple of arguments that it declares."""

    serial: int
    operation: str
    things: list[msgspec.Raw]


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """Of one thing: a ``code`` and ``detail``, or else the encoded ``result``."""

    code: str | None
    detail: str | None
    result: msgspec.Raw


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The answers of the next things. The frame of a child that is ready has none, or a refusal."""

    serial: int
    answers: list[Answer]


class ProtocolError(Exception):
    """The other side does not speak this protocol."""


class FrameReader:
    """Collects one frame at a time from pieces as they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> None:
        """Add what was received."""
        self._buffer += piece

    def missing(self) -> int:
        """Bytes that are known to lack until the frame is whole; 0 when it is.

        :raises ProtocolError: when the frame is larger than allowed.
        """
        have = len(self._buffer)
        if have < _LENGTH_BYTES:
            return _LENGTH_BYTES - have
        length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
        if length > MAX_FRAME_BYTES:
            raise ProtocolError(f"a frame of {length} bytes")
        return max(0, _LENGTH_BYTES + length - have)

    def take(self) -> bytes:
        """The payload of the whole frame at the front."""
        end = _LENGTH_BYTES + int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
        payload = bytes(self._buffer[_LENGTH_BYTES:end])
        del self._buffer[:end]
        return payload


def frame(message: Request | Reply) -> bytes:
    """The message as bytes to send.

    :raises ProtocolError: when it is larger than a frame may be.
    """
    payload = msgspec.msgpack.encode(message)
    if len(payload) > MAX_FRAME_BYTES:
        raise ProtocolError(f"a frame of {len(payload)} bytes")
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


def encode(value: Any) -> msgspec.Raw:
    """A value on its own, to be carried in a message."""
    return msgspec.Raw(msgspec.msgpack.encode(value))


def refusal(code: str, detail: str) -> Answer:
    """The answer that is an error."""
    return Answer(code, detail, _NOTHING)


_NOTHING = encode(None)
_request = msgspec.msgpack.Decoder(Request)
_reply = msgspec.msgpack.Decoder(Reply)


def decode_request(payload: bytes) -> Request:
    """Read a request.

    :raises ProtocolError: when it is none.
    """
    try:
        return _request.decode(payload)
    except UNDECODABLE as error:
        raise ProtocolError(str(error)) from None


def decode_reply(payload: bytes) -> Reply:
    """Read a reply.

    :raises ProtocolError: when it is none.
    """
    try:
        return _reply.decode(payload)
    except UNDECODABLE as error:
        raise ProtocolError(str(error)) from None


def read_frame(fd: int, reader: FrameReader) -> bytes | None:
    """The next payload from a blocking descriptor; None at its end.

    :raises ProtocolError: when the frame is larger than allowed.
    """
    while missing := reader.missing():
        piece = os.read(fd, min(missing, 2**18) if missing > 2**16 else 2**16)
        if not piece:
            return None
        reader.feed(piece)
    return reader.take()


def write_all(fd: int, data: bytes) -> None:
    """Write everything to a blocking descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

# SPDX-License-Identifier: Apache-2.0
"""What the supervisor and the nursery say to each other: one packet, at most one descriptor.

The supervisor sends a :class:`Wish` with the child's end of a socket pair. The nursery answers
wishes in their order, each with :class:`Born` and a pidfd or with :class:`Unborn`, and tells of
every child that was born when it has :class:`Ended` and is no zombie any more.
"""

from __future__ import annotations

import os
import socket
from typing import TypeVar

import msgspec

from nova_diskaudit.lane import wire
from nova_diskaudit.lane.operations import Kind

MOST_BYTES = 4096
_MOST_REASON_CHARACTERS = 500


class Wish(msgspec.Struct, frozen=True, array_like=True):
    """A lane of this kind is wanted."""

    kind: Kind


class Born(msgspec.Struct, frozen=True, array_like=True, tag="born"):
    """It lives, under this process id."""

    pid: int


class Unborn(msgspec.Struct, frozen=True, array_like=True, tag="unborn"):
    """The system had no room for it."""

    reason: str


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="ended"):
    """It has ended: with an exit status, or minus the signal that killed it."""

    pid: int
    status: int


Word = Born | Unborn | Ended
_T = TypeVar("_T")

_wish = msgspec.msgpack.Decoder(Wish)
_word: msgspec.msgpack.Decoder[Word] = msgspec.msgpack.Decoder(Word)


def unborn(error: OSError) -> Unborn:
    """The answer to a wish that failed."""
    return Unborn((error.strerror or str(error))[:_MOST_REASON_CHARACTERS])


def send(channel: socket.socket, message: Wish | Word, descriptor: int | None) -> None:
    """Send it whole.

    :raises OSError: when the other side is gone, or (not blocking) does not read.
    """
    packet = msgspec.msgpack.encode(message)
    socket.send_fds(channel, [packet], [descriptor] if descriptor is not None else [])


def receive_wish(channel: socket.socket) -> tuple[Wish, int] | None:
    """The next wish, with the descriptor that the child is to have; None at the end.

    :raises wire.ProtocolError: when it is no wish.
    """
    received = _receive(channel)
    if received is None:
        return None
    packet, descriptor = received
    if descriptor is None:
        raise wire.ProtocolError("a wish without a descriptor")
    return _decode(packet, _wish), descriptor


def receive_word(channel: socket.socket) -> tuple[Word, int | None] | None:
    """What the nursery tells next, with the pidfd of a child that was born; None at the end.

    :raises BlockingIOError: when there is nothing now.
    :raises wire.ProtocolError: when it is nothing that it may tell.
    """
    received = _receive(channel)
    if received is None:
        return None
    packet, descriptor = received
    try:
        word = _decode(packet, _word)
        if isinstance(word, Born) != (descriptor is not None):
            raise wire.ProtocolError("a descriptor is missing or not expected")
    except wire.ProtocolError:
        if descriptor is not None:
            os.close(descriptor)
        raise
    return word, descriptor


def _receive(channel: socket.socket) -> tuple[bytes, int | None] | None:
    packet, descriptors, _, _ = socket.recv_fds(channel, MOST_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
    if not packet:
        return None
    return packet, descriptors[0] if descriptors else None


def _decode(packet: bytes, decoder: msgspec.msgpack.Decoder[_T]) -> _T:
    try:
        return decoder.decode(packet)
    except wire.UNDECODABLE as error:
        raise wire.ProtocolError(str(error)) from None

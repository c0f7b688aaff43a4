# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.facts import Process
from nova_diskaudit.lane import operations, wire


def answer(body: bytes) -> wire.Answer:
    return wire.Answer(None, None, wire.encode(body))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.data())
def test_frames_survive_any_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(wire.frame(wire.Reply(n, [answer(body)])) for n, body in enumerate(bodies))
    reader, seen = wire.FrameReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:cut])
        stream = stream[cut:]
        while not reader.missing():
            seen.append(wire.decode_reply(reader.take()))
    assert [msgspec.msgpack.decode(reply.answers[0].result) for reply in seen] == bodies
    assert [reply.serial for reply in seen] == list(range(len(bodies)))


@given(st.binary(max_size=200))
def test_anything_else_is_a_protocol_error(payload: bytes) -> None:
    for decode in (wire.decode_reply, wire.decode_request):
        try:
            message = decode(payload)
        except wire.ProtocolError:
            continue
        assert isinstance(message, wire.Reply | wire.Request)


def test_a_frame_has_a_bound() -> None:
    reader = wire.FrameReader()
    reader.feed((wire.MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
    with pytest.raises(wire.ProtocolError):
        reader.missing()
    with pytest.raises(wire.ProtocolError):
        wire.frame(wire.Reply(1, [answer(b"\0" * wire.MAX_FRAME_BYTES)]))


def test_a_frame_has_room_for_the_largest_answer() -> None:
    result = msgspec.Raw(b"\0" * wire.MAX_CONTENT_BYTES)
    wire.frame(wire.Reply(2**63, [wire.Answer(None, None, result)]))


def test_over_a_pipe_up_to_its_end() -> None:
    source, sink = os.pipe()
    body = os.urandom(3 * 2**20)

    def write() -> None:
        wire.write_all(sink, wire.frame(wire.Reply(7, [answer(body)])))
        os.close(sink)

    writer = threading.Thread(target=write)
    writer.start()
    reader = wire.FrameReader()
    payload = wire.read_frame(source, reader)
    assert payload is not None
    assert msgspec.msgpack.decode(wire.decode_reply(payload).answers[0].result) == body
    assert wire.read_frame(source, reader) is None
    writer.join()
    os.close(source)


def test_every_operation_is_declared_once_and_decodes_its_own_types() -> None:
    assert len({operation.name for operation in operations.ALL}) == len(operations.ALL)
    for operation in operations.ALL:
        msgspec.msgpack.Decoder(operation.arguments)
        msgspec.msgpack.Decoder(operation.result)
        # A token is for a subject, and that is the first argument, or those of several.
        subjects = (str, list[tuple[str, Process]])
        assert operation.token is None or operation.arguments.__args__[0] in subjects

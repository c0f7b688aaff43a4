# SPDX-License-Identifier: Apache-2.0
"""What is told of a host as a number of now, and what is not."""

from __future__ import annotations

import datetime
import pathlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from nova_diskaudit import record
from nova_diskaudit.agent import local
from nova_diskaudit.telemetry import facts
from tests.unit.agent.test_outputs_of_the_agent import status
from tests.unit.render import sample

AS_OF = sample.AS_OF
MAX_AGE = 900.0


def at(seconds: float) -> datetime.datetime:
    return AS_OF + datetime.timedelta(seconds=seconds)


def instance(**changes: Any) -> record.Instance:
    """With a guest that answered, and a disk of each kind."""
    known = next(one for one in sample.report().instances if one.guest.state == "answered")
    whole = msgspec.structs.replace(
        known.disks[0], kind="local", host_allocated_bytes=100, guest_used_bytes=50
    )
    disks = tuple(
        msgspec.structs.replace(whole, target=f"vd{letter}", kind=kind)
        for letter, kind in zip("abcd", ("local", "volume", "config", "cdrom"), strict=True)
    )
    guest = record.Guest(state="answered", as_of=AS_OF, checked_at=None)
    plain = {"disks": disks, "as_of": AS_OF, "guest": guest}
    return msgspec.structs.replace(known, **plain | changes)


def told(measures: Iterator[facts.Measure]) -> dict[str, int]:
    return {one.disk.target: one.bytes for one in measures}


def test_disks_of_the_instance_are_told_and_nothing_else() -> None:
    assert told(facts.held(instance(), max_age=MAX_AGE, now=at(0))) == {"vda": 100, "vdb": 100}
    assert told(facts.used(instance(), max_age=MAX_AGE, now=at(0))) == {"vda": 50, "vdb": 50}


def test_what_is_not_known_is_not_told_and_zero_is() -> None:
    disk = instance().disks[0]
    unknown = msgspec.structs.replace(
        disk, target="vdb", host_allocated_bytes=None, guest_used_bytes=None
    )
    empty = msgspec.structs.replace(disk, host_allocated_bytes=0, guest_used_bytes=0)
    one = instance(disks=(empty, unknown))
    assert told(facts.held(one, max_age=MAX_AGE, now=at(0))) == {"vda": 0}
    assert told(facts.used(one, max_age=MAX_AGE, now=at(0))) == {"vda": 0}


@pytest.mark.parametrize("code", ["agent-absent", "guest-stats-off", "agent-timeout"])
def test_of_a_guest_that_does_not_answer_the_last_word_is_not_told(code: str) -> None:
    silent = instance(guest=record.Guest(state=code, as_of=AS_OF))
    assert told(facts.used(silent, max_age=MAX_AGE, now=at(0))) == {}
    assert told(facts.held(silent, max_age=MAX_AGE, now=at(0))) == {"vda": 100, "vdb": 100}


def test_each_is_as_old_as_it_was_observed() -> None:
    """A guest that is quiet is not asked again, but it is checked that nothing was written."""
    checked = record.Guest(state="answered", as_of=at(-5000), checked_at=at(100))
    one = instance(guest=checked)
    assert told(facts.held(one, max_age=MAX_AGE, now=at(901))) == {}
    assert told(facts.used(one, max_age=MAX_AGE, now=at(901))) == {"vda": 50, "vdb": 50}
    assert told(facts.used(one, max_age=MAX_AGE, now=at(1001))) == {}
    unchecked = instance(guest=record.Guest(state="answered", as_of=at(-901)))
    assert told(facts.used(unchecked, max_age=MAX_AGE, now=at(0))) == {}
    (measure, _) = facts.used(one, max_age=MAX_AGE, now=at(200))
    assert measure.as_of == at(100)


# --- the agent ----------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "agent.sock"


def read(
    path: pathlib.Path, now: datetime.datetime | None = None, seconds: float = 5
) -> facts.Facts:
    return facts.read(str(path), seconds=seconds, max_age=MAX_AGE, now=now or at(0))


def test_the_agent_itself(path: pathlib.Path) -> None:
    report: list[record.HostReport | None] = [None]
    agent = local.LocalSocket(path, lambda: local.document(report[0], status()))
    agent.start()
    try:
        assert "has not looked" in (read(path).problem or "")
        report[0] = sample.report()
        known = read(path)
        assert known.problem is None
        assert set(known.instances) == {one.uuid for one in sample.report().instances}
        assert read(path, at(900)).problem is None
        old = read(path, at(901))
        assert (old.instances, "901 s old" in (old.problem or "")) == ({}, True)
    finally:
        agent.close()
    assert "no agent" in (read(path).problem or "")


@pytest.mark.parametrize("said", [b"", b"{}", b"[]", b'{"report":1}', b"\xff", b"[" * 100_000])
def test_what_is_no_agent_is_no_fault(path: pathlib.Path, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()

        def speak() -> None:
            client, _ = listening.accept()
            with client:
                client.sendall(said)

        thread = threading.Thread(target=speak)
        thread.start()
        known = read(path)
        thread.join(5)
    assert known.instances == {} and known.problem


def test_an_agent_that_says_nothing_is_left(path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        assert "did not answer in full" in (read(path, seconds=0.05).problem or "")


def test_one_that_says_too_much_is_left(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "MOST_BYTES", 1000)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()

        def speak() -> None:
            client, _ = listening.accept()
            with client:
                client.sendall(b" " * 2000)

        thread = threading.Thread(target=speak)
        thread.start()
        assert "more than 1000 bytes" in (read(path).problem or "")
        thread.join(5)

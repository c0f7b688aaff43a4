# SPDX-License-Identifier: Apache-2.0
"""What becomes of libvirt's events, with a lane that says what it was given."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from nova_diskaudit.agent.debounce import Debounce
from nova_diskaudit.agent.events import Listener
from nova_diskaudit.facts import Event, EventKind, Events
from nova_diskaudit.lane.errors import DeadlineMissed, LaneRefused


class Lane:
    """Answers one after the other, and then the end."""

    def __init__(self, stop: threading.Event, *answers: Events | Exception) -> None:
        self._stop = stop
        self._answers = list(answers)

    def call(self, operation: Any, seconds: float, *, deadline: float) -> Events:
        assert deadline > seconds
        answer = self._answers.pop(0)
        if not self._answers:
            self._stop.set()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Told:
    """Who was touched, refreshed and woken."""

    def __init__(self, *answers: Events | Exception, quiet_seconds: float = 0.0) -> None:
        self.touched: list[str | None] = []
        self.refreshed: list[str] = []
        self.woken: list[tuple[str, bool]] = []
        stop = threading.Event()
        lane: Any = Lane(stop, *answers)
        self.listener = Listener(
            lane,
            Debounce(quiet_seconds=quiet_seconds, window_seconds=60.0),
            touch=self.touched.append,
            refresh=self._refresh,
            woke=lambda uuid, wholly: self.woken.append((uuid, wholly)),
        )
        self.listener.run(stop)

    def _refresh(self, uuids: Collection[str]) -> None:
        self.refreshed += uuids


def some(*events: tuple[str, EventKind], lost: bool = False) -> Events:
    return Events(events=tuple(Event(uuid=u, kind=k) for u, k in events), lost=lost)


def test_a_domain_is_looked_at_at_once() -> None:
    told = Told(some(("a", "lifecycle"), ("b", "device"), ("c", "block-job"), ("a", "device")))
    assert told.refreshed == ["a", "b", "c"]
    assert told.touched == ["a", "b", "c", "a"]
    # Only who was started anew may answer again what it did not answer before.
    assert told.woken == [("a", True)]


def test_a_guest_wakes_nothing_but_its_agent() -> None:
    told = Told(some(("a", "agent")))
    assert told.refreshed == ["a"]
    assert told.woken == [("a", False)]


def test_a_guest_that_is_not_quiet_waits() -> None:
    told = Told(some(("a", "agent")), some(("a", "agent")), quiet_seconds=60.0)
    assert told.refreshed == [] and told.woken == []
    assert told.touched == ["a", "a"]


def test_a_new_connection_may_have_missed_something() -> None:
    told = Told(some(lost=True), some(), some(("a", "device")))
    assert told.touched == [None, "a"]
    assert told.listener.connected
    status = told.listener.status()
    assert (status.received, status.lost, status.connections) == (1, 1, 1)


def test_silence_is_no_connection() -> None:
    silence = DeadlineMissed("events", 15.0)
    told = Told(some(lost=True), silence, silence)
    assert not told.listener.connected


def test_libvirt_comes_back() -> None:
    gone = LaneRefused("no-connection", "libvirt hung up")
    told = Told(some(lost=True), gone, some(("a", "device"), lost=True))
    assert told.listener.connected
    assert told.touched == [None, None, "a"]
    assert told.listener.status().connections == 2

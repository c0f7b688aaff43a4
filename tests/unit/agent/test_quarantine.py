# SPDX-License-Identifier: Apache-2.0
"""The quarantine against a model that only counts."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nova_diskaudit.agent import quarantine as module
from nova_diskaudit.agent.quarantine import Quarantine
from nova_diskaudit.health import PARTS, Part

FIRST, MOST = 60.0, 3600.0
UUIDS = st.sampled_from(["a", "b", "c"])
KEYS = st.tuples(UUIDS, st.sampled_from(PARTS))


class Model(RuleBasedStateMachine):
    """By domain and part: how often it missed in a row, and from when on it may be tried."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.quarantine = Quarantine(lambda: self.now, first_seconds=FIRST, most_seconds=MOST)
        self.misses: dict[tuple[str, Part], int] = {}
        self.until: dict[tuple[str, Part], float] = {}

    @rule(seconds=st.floats(0, 2 * MOST))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=KEYS)
    def one_misses(self, key: tuple[str, Part]) -> None:
        self.quarantine.missed(key[0], "name", key[1], "agent-timeout", None)
        count = self.misses[key] = self.misses.get(key, 0) + 1
        seconds = FIRST
        for _ in range(count - 1):
            seconds = min(2 * seconds, MOST)
        self.until[key] = self.now + seconds

    @rule(key=KEYS)
    def one_answers(self, key: tuple[str, Part]) -> None:
        self.quarantine.answered(*key)
        self.misses.pop(key, None)
        self.until.pop(key, None)

    @rule(uuid=UUIDS, parts=st.sets(st.sampled_from(PARTS), min_size=1))
    def an_event_speaks_of_one(self, uuid: str, parts: set[Part]) -> None:
        keys = [(uuid, part) for part in parts if (uuid, part) in self.until]
        assert self.quarantine.try_now(uuid, parts) == bool(keys)
        for key in keys:
            self.until[key] = min(self.until[key], self.now)

    @rule(key=KEYS)
    def a_retry_could_not_ask(self, key: tuple[str, Part]) -> None:
        self.quarantine.postpone(*key)
        if self.until.get(key, math.inf) <= self.now:
            self.until[key] = self.now + FIRST

    @rule(gone=UUIDS)
    def a_domain_is_gone(self, gone: str) -> None:
        self.quarantine.keep({"a", "b", "c"} - {gone})
        for key in [key for key in self.misses if key[0] == gone]:
            del self.misses[key], self.until[key]

    @rule()
    @precondition(lambda self: self.until)
    def the_time_of_the_first_comes(self) -> None:
        seconds = self.quarantine.next_due_seconds()
        assert seconds is not None
        self.now += seconds
        assert self.quarantine.due()

    @invariant()
    def all_of_it_is_as_counted(self) -> None:
        for part in PARTS:
            for uuid in ("a", "b", "c"):
                why = self.quarantine.why(uuid, part)
                count = self.misses.get((uuid, part))
                assert (why is None) == (count is None)
                assert why is None or (why[0] == "agent-timeout" and f" {count} " in why[1])
        due = self.quarantine.due()
        assert set(due) == {key for key, until in self.until.items() if until <= self.now}
        assert [self.until[key] for key in due] == sorted(self.until[key] for key in due)
        told = {(entry.uuid, entry.part): entry.failures for entry in self.quarantine.status()}
        assert told == self.misses
        times = [entry.since for entry in self.quarantine.status()]
        assert times == sorted(times)
        assert (self.quarantine.next_due_seconds() is None) == (not self.until)


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase


def test_it_is_never_longer_than_the_cap_however_often_it_missed() -> None:
    quarantine = Quarantine(lambda: 0.0, first_seconds=FIRST, most_seconds=MOST)
    seconds = []
    for _ in range(5000):
        quarantine.missed("a", "name", "guest", "agent-timeout", None)
        seconds.append(quarantine.next_due_seconds())
    assert seconds[:8] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert set(seconds[6:]) == {MOST}


def test_a_guest_that_plays_dead_and_alive_gains_nothing() -> None:
    """Its channel comes and goes: it is tried each time, and each miss still doubles."""
    now = 0.0
    quarantine = Quarantine(lambda: now, first_seconds=FIRST, most_seconds=MOST)
    for count in range(1, 5):
        quarantine.missed("a", "name", "guest", "agent-timeout", None)
        assert quarantine.next_due_seconds() == FIRST * 2 ** (count - 1)
        assert quarantine.try_now("a", ["guest"])
        assert quarantine.due() == [("a", "guest")]


def test_the_bounds_can_be_changed_at_any_time() -> None:
    quarantine = Quarantine(lambda: 0.0, first_seconds=FIRST, most_seconds=MOST)
    quarantine.first_seconds, quarantine.most_seconds = 5.0, 7.0
    quarantine.missed("a", "name", "guest", "agent-timeout", None)
    assert quarantine.next_due_seconds() == 5
    quarantine.missed("a", "name", "guest", "agent-timeout", None)
    assert quarantine.next_due_seconds() == 7


def test_a_flood_of_domains_has_a_bound() -> None:
    quarantine = Quarantine(lambda: 0.0, first_seconds=FIRST, most_seconds=MOST)
    most = module._MOST_ENTRIES
    for number in range(most + 10):
        quarantine.missed(str(number), "name", "guest", "agent-timeout", None)
    assert len(quarantine.status()) == most
    quarantine.missed("0", "name", "guest", "agent-timeout", None)
    assert next(entry for entry in quarantine.status() if entry.uuid == "0").failures == 2

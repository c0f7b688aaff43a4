# SPDX-License-Identifier: Apache-2.0
"""Events that a guest causes: answered soon when they are few, seldom when they are many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.agent.debounce import Debounce

QUIET, WINDOW = 0.5, 60.0


@pytest.fixture
def some() -> Debounce:
    return Debounce(quiet_seconds=QUIET, window_seconds=WINDOW)


def answers(some: Debounce, events: list[float], until: float) -> list[float]:
    """When one domain's events are answered, by a caller that wakes up exactly when it is due."""
    given: list[float] = []
    waiting, now = sorted(events), 0.0
    while True:
        wake = now + some.seconds_to_next(now)
        if waiting and waiting[0] <= wake:
            now = waiting.pop(0)
            some.happened("u", now)
        elif wake <= until:
            now = wake
            # The clock of a caller moves on between its question and its answer.
            given += [now] * len(some.due(now + 1e-6))
        else:
            return given


def test_one_event_is_answered_once_it_is_quiet(some: Debounce) -> None:
    some.happened("u", 100.0)
    assert some.due(100.0 + QUIET - 0.01) == []
    assert some.seconds_to_next(100.0) == QUIET
    assert some.due(100.0 + QUIET) == ["u"]
    assert some.due(100.0 + 2 * QUIET) == []


def test_nothing_waits(some: Debounce) -> None:
    assert some.due(1.0) == []
    assert some.seconds_to_next(1.0) == float("inf")


def test_a_reboot_is_answered_at_each_step(some: Debounce) -> None:
    assert len(answers(some, [0.0, 20.0, 21.0], until=WINDOW)) == 3


def test_a_storm_that_is_never_quiet_is_answered_once_a_window(some: Debounce) -> None:
    storm = [number * 0.1 for number in range(3000)]
    given = answers(some, storm, until=299.0)
    assert [round(time) for time in given] == [60, 120, 180, 240]


def test_a_storm_with_pauses_gets_four_answers_a_window(some: Debounce) -> None:
    storm = [float(number) for number in range(300)]
    given = answers(some, storm, until=300.0)
    assert len(given) == 20
    assert given[:4] == [QUIET, 1 + QUIET, 2 + QUIET, 3 + QUIET]


def test_domains_do_not_wait_for_each_other(some: Debounce) -> None:
    for number in range(100):
        some.happened("storm", number * 0.01)
    some.happened("calm", 0.4)
    assert some.due(1.0) == ["calm"]


@given(st.lists(st.floats(0, 400, allow_nan=False), min_size=1, max_size=80))
def test_every_event_has_an_answer_and_no_window_too_many(events: list[float]) -> None:
    some = Debounce(quiet_seconds=QUIET, window_seconds=WINDOW)
    given = answers(some, events, until=1000.0)
    for event in events:
        assert any(event <= time <= event + 2 * WINDOW for time in given)
    for first, fifth in zip(given, given[4:], strict=False):
        assert fifth - first > WINDOW - 0.001


def test_what_is_over_is_forgotten(some: Debounce) -> None:
    for number in range(1000):
        some.happened(str(number), 0.0)
    assert len(some.due(QUIET)) == 1000
    some.due(QUIET + WINDOW)
    assert not some._channels

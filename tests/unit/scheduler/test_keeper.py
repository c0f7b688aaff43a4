# SPDX-License-Identifier: Apache-2.0
"""The thread that renews the snapshot: its start, its faults, and what a fork leaves of it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from nova_diskaudit.scheduler import keeper, snapshot
from nova_diskaudit.scheduler.keeper import Keeper
from nova_diskaudit.scheduler.snapshot import Snapshot

#: Against a hang of the tests themselves.
LONG = 30.0


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


#: set when a test is over, so that its threads rest
OVER: list[threading.Event] = []


@pytest.fixture(autouse=True)
def threads_rest() -> Iterator[None]:
    OVER.append(threading.Event())
    yield
    OVER[-1].set()


def counting(fault: Callable[[int], None] = lambda look: None, interval: float = 0.005) -> Keeper:
    """Its snapshots hold as many projects as there were looks."""
    looks, over = 0, OVER[-1]

    def look() -> Snapshot:
        nonlocal looks
        if over.is_set():
            threading.Event().wait()  # it is a daemon
        looks += 1
        fault(looks)
        return Snapshot({}, {str(number): 0.0 for number in range(looks)})

    return Keeper(lambda: (look, interval))


def test_the_first_use_waits_for_nobody_and_starts_it() -> None:
    release = threading.Event()
    kept = counting(lambda look: release.wait(LONG) and None)
    assert kept._thread is None
    assert kept.current() is snapshot.EMPTY
    release.set()
    wait_for(lambda: len(kept.current().projects) >= 3)


def test_many_at_once_start_one_thread() -> None:
    begun = []
    release = threading.Event()

    def begin() -> tuple[Callable[[], Snapshot], float]:
        begun.append(threading.get_ident())
        release.wait(LONG)
        return (lambda: snapshot.EMPTY), 60.0

    kept = Keeper(begin)
    many = [threading.Thread(target=kept.current) for _ in range(20)]
    for one in many:
        one.start()
    for one in many:
        one.join(LONG)
    wait_for(lambda: begun)
    release.set()
    assert len(begun) == 1


def test_a_fault_is_told_once_and_the_last_snapshot_stands(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_LONGEST_SECONDS", 0.01)
    away = threading.Event()

    def fault(look: int) -> None:
        if away.is_set():
            raise ConnectionError("the service is away\n" + "x" * 10_000)

    failing = []
    kept = counting(lambda look: failing.append(look) or fault(look))  # type: ignore[func-returns-value]
    with caplog.at_level(logging.INFO):
        wait_for(lambda: kept.current().projects)
        away.set()
        begun = len(failing)
        wait_for(lambda: len(failing) > begun + 5)
        stands = kept.current()
        assert stands.projects
        away.clear()
        wait_for(lambda: kept.current() is not stands)
    said = [(one.levelname, one.getMessage()) for one in caplog.records]
    errors = [text for level, text in said if level == "ERROR"]
    assert len(errors) == 1 and "ConnectionError: the service is away" in errors[0]
    assert len(errors[0]) < 500 and "\n" not in errors[0]
    assert [level for level, _ in said if level == "INFO"] == ["INFO"]


def test_what_cannot_begin_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_LONGEST_SECONDS", 0.01)
    tries = []

    def begin() -> tuple[Callable[[], Snapshot], float]:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("no such option")
        return (lambda: Snapshot({}, {"p": 0.0})), 60.0

    kept = Keeper(begin)
    wait_for(lambda: kept.current().projects)
    assert len(tries) == 3


def test_a_fork_begins_anew_even_from_a_process_that_was_at_it() -> None:
    """As a worker of nova-scheduler does; the lock is held by a thread that it does not have."""
    kept = counting()
    wait_for(lambda: kept.current().projects)
    before = kept._thread
    kept._starting.acquire()
    try:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                looks = len(kept._snapshot.projects)
                assert looks == 0 and kept._thread is None
                wait_for(lambda: kept.current().projects)
                assert kept._thread is not before
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        kept._starting.release()
    wait_for(lambda: len(kept.current().projects) > 10)

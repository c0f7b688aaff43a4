# SPDX-License-Identifier: Apache-2.0
"""The runner: what becomes of a task, whatever happens in it."""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from nova_diskaudit.cloud import CloudError
from nova_diskaudit.reconcile import runner
from nova_diskaudit.reconcile.runner import Job, Outcome, Result, Turn
from nova_diskaudit.store import errors, moment, task
from tests import reports

LONG = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = reports.NOW

    def __call__(self) -> datetime.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def attempt(engine: sa.Engine, clock: Clock, run: Callable[[Turn], Any], **more: Any) -> Outcome:
    job = Job("some-task", 600.0, run)
    options = {"holder": "me", "if_due": True, **more}
    return runner.attempt(engine, job, clock=clock, **options)


def test_it_is_done_when_it_is_due(engine: sa.Engine, clock: Clock) -> None:
    told: list[tuple[str, int, int]] = []

    def run(turn: Turn) -> Result:
        assert turn.engine is engine and turn.now == clock.now
        turn.tell("rows", 1, 2)
        return Result({"rows": 2})

    done = attempt(engine, clock, run, tell=lambda *words: told.append(words))
    assert (done.task, done.state, done.facts) == ("some-task", "done", {"rows": 2})
    assert told == [("rows", 1, 2)]
    assert done.due is not None
    assert abs((done.due - clock.now).total_seconds() - 600) <= 30
    assert attempt(engine, clock, run) == Outcome("some-task", "not-due", due=done.due)
    assert attempt(engine, clock, run, if_due=False).state == "done"
    clock.now += datetime.timedelta(minutes=11)
    assert attempt(engine, clock, run).state == "done"


def test_what_takes_longer_than_its_interval_pauses(engine: sa.Engine, clock: Clock) -> None:
    def run(turn: Turn) -> Result:
        clock.now += datetime.timedelta(hours=1)
        return Result({})

    done = attempt(engine, clock, run)
    assert done.due is not None and done.due > clock.now + datetime.timedelta(seconds=50)


@pytest.mark.parametrize(
    "error, state, says",
    [
        (CloudError("Nova is away"), "incomplete", "Nova is away"),
        (errors.Unavailable("the database is full"), "failed", "the database is full"),
        (task.LeaseLost("another one"), "failed", "another one"),
        (KeyError("x\ny"), "failed", "a defect of ours: KeyError: 'x\\ny'"),
        (MemoryError(), "failed", "a defect of ours: MemoryError:"),
    ],
)
def test_what_goes_wrong(
    engine: sa.Engine, clock: Clock, error: Exception, state: str, says: str
) -> None:
    def run(turn: Turn) -> Result:
        raise error

    done = attempt(engine, clock, run)
    assert (done.state, done.problem) == (state, says)
    assert done.due is not None
    assert done.due <= clock.now + datetime.timedelta(seconds=runner.RETRY_SECONDS), "tried soon"
    known = task.state(engine, "some-task")
    assert known.problem == says and known.held_until_at is None and known.succeeded_at is None


def test_a_problem_that_a_task_tells(engine: sa.Engine, clock: Clock) -> None:
    done = attempt(engine, clock, lambda turn: Result({"rows": 1}, "a cell is down"))
    assert (done.state, done.problem, done.facts) == ("incomplete", "a cell is down", {"rows": 1})


def test_somebody_else_does_it(engine: sa.Engine, clock: Clock) -> None:
    def run(turn: Turn) -> Result:
        inner = attempt(engine, clock, run, holder="somebody else", if_due=False)
        return Result({"inner": inner.state})

    assert attempt(engine, clock, run).facts == {"inner": "busy"}


def test_told_to_end(engine: sa.Engine, clock: Clock) -> None:
    def run(turn: Turn) -> Result:
        turn.lease.go_on()
        return Result({})

    assert attempt(engine, clock, run, stop=lambda: True).state == "stopped"

    def ended(turn: Turn) -> Result:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        attempt(engine, clock, ended)
    assert attempt(engine, clock, run, holder="the next").state == "done", "without waiting"


def test_a_lease_is_held_for_a_task_that_is_silent(
    engine: sa.Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LEASE_SECONDS", 0.3)

    def run(turn: Turn) -> Result:
        first = task.state(engine, "some-task").held_until_at
        clock.now += datetime.timedelta(hours=1)
        for _ in range(1000):
            threading.Event().wait(0.01)
            now = task.state(engine, "some-task").held_until_at
            if now != first:
                return Result({"until": now})
        raise AssertionError("it was not renewed")

    done = attempt(engine, clock, run)
    assert done.facts == {"until": moment.of(clock.now) + 300_000}


def test_the_end_cannot_be_written(
    engine: sa.Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lease: task.Lease, **_: Any) -> None:
        raise errors.Unavailable("read-only")

    monkeypatch.setattr(task.Lease, "finish", refuse)
    done = attempt(engine, clock, lambda turn: Result({}))
    assert (done.state, done.problem) == ("failed", "read-only")


# --- for ever -----------------------------------------------------------------------------------


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Steps:
    """A task that can be awaited."""

    def __init__(self, name: str, error: BaseException | None = None) -> None:
        self.name, self.error = name, error
        self.ran = 0
        self.enough = threading.Event()

    def __call__(self, turn: Turn) -> Result:
        self.ran += 1
        if self.ran == 2:
            self.enough.set()
        if self.error is not None:
            raise self.error
        return Result({})

    def job(self) -> Job:
        return Job(self.name, 0.01, self)


def test_one_that_fails_disturbs_no_other(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    well, ill = Steps("well"), Steps("ill", RuntimeError("x"))
    hung = threading.Event()

    def hang(turn: Turn) -> Result:
        hung.wait(LONG)
        return Result({})

    keeper = runner.Keeper(engine, [ill.job(), Job("hung", 0.01, hang), well.job()], clock=now)
    with caplog.at_level(logging.ERROR):
        keeper.start()
        assert well.enough.wait(LONG) and ill.enough.wait(LONG)
    assert keeper.dead() == [] and keeper.hanging() == []
    monkeypatch.setattr(runner, "MOST_SECONDS", 0.0)
    assert "hung" in keeper.hanging()
    keeper.close(0.1)
    hung.set()
    keeper.close(LONG)
    assert sorted(keeper.dead()) == ["hung", "ill", "well"]


def test_a_database_that_is_away_is_waited_for(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, real = Steps("some-task"), task.take
    away = iter([True, True])

    def take(*words: Any, **more: Any) -> task.Lease | None:
        if next(away, False):
            raise errors.Unavailable("away")
        return real(*words, **more)

    monkeypatch.setattr(task, "take", take)
    keeper = runner.Keeper(engine, [step.job()], clock=now)
    keeper.start()
    assert step.enough.wait(LONG)
    keeper.close(LONG)


def test_of_two_processes_one_works(engine: sa.Engine) -> None:
    at_once = most = 0
    mutex, enough = threading.Lock(), threading.Event()
    ran = 0

    def run(turn: Turn) -> Result:
        nonlocal at_once, most, ran
        with mutex:
            at_once += 1
            ran += 1
            most = max(most, at_once)
        threading.Event().wait(0.01)
        with mutex:
            at_once -= 1
        if ran >= 20:
            enough.set()
        return Result({})

    keepers = [runner.Keeper(engine, [Job("x", 0.01, run)], clock=now) for _ in range(4)]
    for keeper in keepers:
        keeper.start()
    assert enough.wait(LONG)
    for keeper in keepers:
        keeper.close(LONG)
    assert most == 1

# SPDX-License-Identifier: Apache-2.0
"""The publisher: what it makes of each answer, how long it waits, and that it never spins."""

from __future__ import annotations

import logging
import pathlib
import threading
from collections.abc import Callable, Iterator

import pytest

from nova_diskaudit import protocol
from nova_diskaudit.agent.publish import Answer, Publisher
from nova_diskaudit.agent.spool import Spool, SpoolError
from tests.contract import reports

Reply = Callable[[protocol.Report], Answer]

KEPT = [401, 403, 404, 408, 429, 500, 501, 502, 503, 504, 507, 301, 302, 307, 201, 204, 418]


class Service:
    """Answers as it is told to, then well; it remembers what it was sent."""

    def __init__(self) -> None:
        self.got: list[protocol.Report] = []
        self.replies: list[Reply | Answer] = []

    def __call__(self, report: protocol.Report) -> Answer:
        self.got.append(report)
        if not self.replies:
            return well(report)
        reply = self.replies.pop(0)
        return reply if isinstance(reply, Answer) else reply(report)


def well(report: protocol.Report) -> Answer:
    return Answer(status=200, current=report.id)


def chain(current: str | None) -> Answer:
    return Answer(status=409, code="report-chain", current=current)


@pytest.fixture
def spool(tmp_path: pathlib.Path) -> Iterator[Spool]:
    made = Spool(tmp_path, now=lambda: reports.NOON)
    yield made
    made.close()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def publisher(spool: Spool, service: Service) -> Publisher:
    return Publisher(spool, service, jitter=lambda: 1.0)


def append(spool: Spool, count: int = 1) -> list[protocol.State]:
    states = [reports.state({1: str(number), 2: ""}) for number in range(count)]
    for one in states:
        spool.append(one)
    return states


# --- the table of answers ---------------------------------------------------------------------


def test_nothing_to_send(publisher: Publisher, service: Service) -> None:
    assert publisher.step() is None and service.got == []


def test_the_first_is_full_and_the_next_a_difference(
    publisher: Publisher, spool: Spool, service: Service
) -> None:
    first, second = append(spool, 2)
    assert [publisher.step() for _ in range(3)] == [0.0, 0.0, None]
    one, two = service.got
    assert (one.kind, one.replaces, one.id) == ("full", None, first.id)
    assert (two.kind, two.replaces, two.id) == ("delta", first.id, second.id)
    assert [len(report.instances) for report in service.got] == [2, 1]
    assert one.agent == two.agent == spool.agent
    assert spool.acked() == second
    status = publisher.status()
    assert (status.acknowledged, status.sent, status.problem) == (second.id, 2, None)


@pytest.mark.parametrize("status", KEPT)
def test_what_may_be_better_later_is_kept(
    publisher: Publisher, spool: Spool, service: Service, status: int
) -> None:
    (state,) = append(spool)
    service.replies = [Answer(status=status, current=state.id, detail="later")]
    assert publisher.step() == 5.0
    assert spool.oldest() == state and spool.status().rejected == 0
    shown = publisher.status()
    assert shown.problem == f"{status}: later" and shown.failures == 1
    assert shown.next_try is not None
    assert publisher.step() == 0.0
    shown = publisher.status()
    assert (shown.problem, shown.next_try, shown.acknowledged) == (None, None, state.id)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_is_refused_for_good_stops_nobody(
    publisher: Publisher, spool: Spool, service: Service, status: int, tmp_path: pathlib.Path
) -> None:
    bad, good = append(spool, 2)
    service.replies = [Answer(status=status, code="report-invalid", detail="no good")]
    assert [publisher.step() for _ in range(3)] == [0.0, 0.0, None]
    assert [report.id for report in service.got] == [bad.id, good.id]
    assert spool.status().rejected == 1 and spool.acked() == good
    (kept,) = (tmp_path / "rejected").iterdir()
    assert bad.id in kept.name and f"{status}: no good" in kept.read_text()
    assert publisher.status().failures == 1


@pytest.mark.parametrize("current", [reports.uuid_of(77), None])
def test_a_broken_chain_is_mended_by_the_same_one_whole(
    publisher: Publisher, spool: Spool, service: Service, current: str | None
) -> None:
    append(spool)
    publisher.step()
    (state,) = append(spool)
    service.replies = [chain(current)]
    assert [publisher.step() for _ in range(3)] == [0.0, 0.0, None]
    _, wrong, right = service.got
    assert wrong.kind == "delta"
    assert (right.kind, right.replaces, right.id) == ("full", current, state.id)
    assert right.instances == state.instances and right.gone == ()


def test_after_it_was_mended_differences_go_on(
    publisher: Publisher, spool: Spool, service: Service
) -> None:
    states = append(spool, 3)
    service.replies = [chain(reports.uuid_of(77))]
    while publisher.step() is not None:
        pass
    kinds = [(report.kind, report.replaces) for report in service.got]
    assert kinds == [
        ("full", None),
        ("full", reports.uuid_of(77)),
        ("delta", states[0].id),
        ("delta", states[1].id),
    ]


def test_another_agent_holds_the_host(publisher: Publisher, spool: Spool, service: Service) -> None:
    (state,) = append(spool)
    held = Answer(status=409, code="host-held", detail="another agent", retry_after_seconds=700)
    service.replies = [held]
    assert publisher.step() == pytest.approx(770)
    assert spool.oldest() == state and publisher.status().problem == "409: another agent"


@pytest.mark.parametrize("code", [None, "conflict", ""])
def test_a_conflict_that_nobody_knows_is_kept(
    publisher: Publisher, spool: Spool, service: Service, code: str | None
) -> None:
    (state,) = append(spool)
    service.replies = [Answer(status=409, code=code, current=reports.uuid_of(5))]
    assert publisher.step() == 5.0
    assert publisher.step() == 0.0 and service.got[1].kind == "full"
    assert service.got[1].replaces is None and spool.acked() == state


@pytest.mark.parametrize("current", [None, "", reports.uuid_of(5)])
def test_a_success_for_another_report_is_none(
    publisher: Publisher, spool: Spool, service: Service, current: str | None
) -> None:
    (state,) = append(spool)
    service.replies = [Answer(status=200, current=current)]
    assert publisher.step() == 5.0
    assert spool.acked() is None and spool.oldest() == state
    assert "another report" in (publisher.status().problem or "")


# --- no hot loop ------------------------------------------------------------------------------


def test_a_chain_that_cannot_be_mended_is_left_for_later(
    publisher: Publisher, spool: Spool, service: Service
) -> None:
    append(spool)
    service.replies = [chain(reports.new_id()) for _ in range(100)]
    waits = [publisher.step() for _ in range(40)]
    assert waits[:4] == [0.0, 0.0, 0.0, 5.0]
    # Whatever the service says, at most three of four requests follow at once.
    assert all(wait for wait in waits[3::4]) and sum(1 for wait in waits if wait) == 10
    assert waits[39] == 600.0


@pytest.mark.parametrize("current", ["", "x", "NEW", "own"])
def test_a_chain_that_cannot_be_is_left_for_later(
    publisher: Publisher, spool: Spool, service: Service, current: str
) -> None:
    (state,) = append(spool)
    wrong = {"own": state.id, "NEW": reports.new_id().upper().replace("-", "")}
    service.replies = [chain(wrong.get(current, current))]
    assert publisher.step() == 5.0
    assert spool.oldest() == state and "cannot be" in (publisher.status().problem or "")


# --- waiting ----------------------------------------------------------------------------------


def test_it_waits_longer_and_longer(publisher: Publisher, spool: Spool, service: Service) -> None:
    append(spool)
    service.replies = [Answer(status=None, detail="no connection")] * 12
    waits = [publisher.step() for _ in range(12)]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600]
    assert publisher.step() == 0.0
    append(spool)
    service.replies = [Answer(status=503)]
    assert publisher.step() == 5.0


def test_it_does_not_wait_with_all_others_at_once(spool: Spool, service: Service) -> None:
    append(spool)
    numbers = iter([0.0, 0.25, 1.0, 0.5, 0.0, 1.0])
    publisher = Publisher(spool, service, backoff_max_seconds=40, jitter=lambda: next(numbers))
    service.replies = [Answer(status=503)] * 4 + [Answer(status=503, retry_after_seconds=100)] * 2
    assert [publisher.step() for _ in range(6)] == [2.5, 6.25, 20, 30, 100, pytest.approx(110)]


@pytest.mark.parametrize(
    ("wanted", "waited"), [(0.0, 1.0), (-5.0, 1.0), (7.0, 7.0), (3600.0, 3600.0), (1e9, 3600.0)]
)
def test_the_service_says_how_long(
    spool: Spool, service: Service, wanted: float, waited: float
) -> None:
    append(spool)
    publisher = Publisher(spool, service, backoff_max_seconds=2, jitter=lambda: 0.0)
    service.replies = [Answer(status=429, retry_after_seconds=wanted)]
    assert publisher.step() == waited


def test_it_says_once_why_nothing_is_published(
    publisher: Publisher, spool: Spool, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    append(spool)
    service.replies = [Answer(status=503)] * 3 + [Answer(status=401, detail="no token")] * 3
    for _ in range(7):
        publisher.step()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert "503" in said[0] and "401: no token" in said[1] and "again" in said[2]


def test_what_was_not_taken_may_be_given_up(
    publisher: Publisher, spool: Spool, service: Service
) -> None:
    """Or else one state that the service does not answer to would wait for ever."""
    old, new = append(spool, 2)
    service.replies = [Answer(status=503)]
    publisher.step()
    spool.limit(max_age_seconds=7 * 86400, max_bytes=1)
    (newest,) = append(spool)
    assert spool.status().dropped == 2
    publisher.step()
    assert [report.id for report in service.got] == [old.id, newest.id] and new.id != newest.id


# --- the thread -------------------------------------------------------------------------------


class Running:
    def __init__(self, publisher: Publisher) -> None:
        self.stop = threading.Event()
        self.publisher = publisher
        self.thread = threading.Thread(target=publisher.run, args=(self.stop,), daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.publisher.wake()
        self.thread.join(10)
        assert not self.thread.is_alive()


def test_it_sends_what_comes_and_ends_when_told(spool: Spool) -> None:
    arrived = threading.Semaphore(0)

    def send(report: protocol.Report) -> Answer:
        arrived.release()
        return well(report)

    running = Running(Publisher(spool, send))
    for _ in range(3):
        append(spool)
        running.publisher.wake()
        assert arrived.acquire(timeout=10)
    running.end()
    assert spool.oldest() is None


def test_it_ends_while_it_waits_to_try_again(spool: Spool) -> None:
    tried = threading.Event()

    def send(report: protocol.Report) -> Answer:
        tried.set()
        return Answer(status=503, retry_after_seconds=3000)

    append(spool)
    running = Running(Publisher(spool, send))
    assert tried.wait(10)
    running.end()


def test_a_new_state_does_not_cut_the_wait_short_but_another_way_does(spool: Spool) -> None:
    tries = threading.Semaphore(0)
    arrived = threading.Event()

    def refuse(report: protocol.Report) -> Answer:
        tries.release()
        return Answer(status=503, retry_after_seconds=3000)

    def take(report: protocol.Report) -> Answer:
        arrived.set()
        return well(report)

    append(spool)
    running = Running(Publisher(spool, refuse))
    assert tries.acquire(timeout=10)
    append(spool)
    running.publisher.wake()
    assert not tries.acquire(timeout=0.3)
    running.publisher.use(take, backoff_max_seconds=5)
    assert arrived.wait(10)
    running.end()
    assert running.publisher.status().problem is None


def test_stopped_before_it_began(spool: Spool, service: Service) -> None:
    publisher = Publisher(spool, service)
    stop = threading.Event()
    stop.set()
    publisher.run(stop)
    assert service.got == []


def test_stopped_and_woken_at_the_worst_moment(spool: Spool) -> None:
    """After it looked whether to end, and before it waits for something to do."""
    stop = threading.Event()

    class Late(Spool):
        def oldest(self) -> protocol.State | None:
            stop.set()
            return None

    late = Late.__new__(Late)
    publisher = Publisher(late, well)
    thread = threading.Thread(target=publisher.run, args=(stop,), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_a_defect_of_ours_is_no_end(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    failed = threading.Event()

    def send(report: protocol.Report) -> Answer:
        failed.set()
        raise RuntimeError("a defect")

    append(spool)
    publisher = Publisher(spool, send)
    running = Running(publisher)
    assert failed.wait(10)
    arrived = threading.Event()
    publisher.use(lambda report: (arrived.set(), well(report))[1], backoff_max_seconds=5)
    assert arrived.wait(10)
    running.end()
    assert "a defect" in caplog.text


# --- the spool fails --------------------------------------------------------------------------


def test_an_acknowledgement_that_cannot_be_written_is_asked_for_again(
    publisher: Publisher, spool: Spool, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state,) = append(spool)

    def full(id: str) -> None:
        raise SpoolError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(spool, "acknowledge", full)
        assert publisher.step() == 5.0
    assert "disk full" in (publisher.status().problem or "")
    assert publisher.step() == 0.0
    assert [report.id for report in service.got] == [state.id] * 2


def test_a_rejection_that_cannot_be_written_is_tried_again(
    publisher: Publisher, spool: Spool, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state,) = append(spool)
    service.replies = [Answer(status=400)] * 2

    def full(*words: object) -> None:
        raise SpoolError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(spool, "reject", full)
        assert publisher.step() == 5.0
    assert spool.oldest() == state
    assert publisher.step() == 0.0
    assert spool.oldest() is None and spool.status().rejected == 1

# SPDX-License-Identifier: Apache-2.0
"""The pool of lanes, with real children that do what they are told (see worker.py)."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from nova_diskaudit.facts import BlockStats, Process, StorageFacts
from nova_diskaudit.lane import lanes, nursery, operations, tokens
from nova_diskaudit.lane.lanes import DeadlineMissed, LaneBroken, LaneRefused, Lanes, NoToken

WORKER = pathlib.Path(__file__).parent / "worker.py"
QEMU = Process(pid=1, start_ticks=1)
# Against a hang of the tests themselves; nothing is asserted about how long things take.
LONG = 120.0


@pytest.fixture(autouse=True)
def told_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, "COMMAND", (sys.executable, "-I", str(WORKER)))
    monkeypatch.setattr(tokens, "_SETTLE_SECONDS", 0.0)


@pytest.fixture
def pool() -> Iterator[Lanes]:
    with Lanes("none", state_path=None) as some:
        yield some


class Gate:
    """A call that hangs until it is opened."""

    def __init__(self, path: pathlib.Path) -> None:
        self.word = f"until:{path}"
        self._path = path

    def open(self) -> None:
        self._path.touch()

    def await_begun(self) -> None:
        wait_for(lambda: os.path.exists(f"{self._path}.begun"))

    def libvirt_says_busy(self, milliseconds: int | None) -> None:
        busy = pathlib.Path(f"{self._path}.busy")
        if milliseconds is None:
            busy.unlink()
        else:
            busy.write_text(str(milliseconds))


@pytest.fixture
def gate(tmp_path: pathlib.Path) -> Iterator[Gate]:
    some = Gate(tmp_path / "gate")
    yield some
    some.open()


def wait_for(condition: object) -> None:
    until = time.monotonic() + LONG
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def stats_of(pool: Lanes, word: str, seconds: float) -> dict[str, BlockStats]:
    answers = pool.call(operations.BLOCK_STATS, [(word, QEMU)], deadline=seconds, subject=word)
    return answers[word].disks


def pid_of(pool: Lanes, word: str = "now") -> int:
    return int(pool.call(operations.FILESYSTEM, word, deadline=LONG).identity)


def pids_of(pool: Lanes) -> list[int]:
    """The processes of all children; who has just answered may not have been told of yet."""
    wait_for(lambda: all(some.pid for some in list(pool._supervisor._children)))
    return [some.pid for some in pool._supervisor._children if some.pid]


def parked_pid(pool: Lanes) -> int:
    wait_for(lambda: pool._supervisor._parked)
    ((parked, _),) = pool._supervisor._parked.values()
    assert parked.pid
    return parked.pid


def nursery_of(pool: Lanes) -> int:
    assert pool._supervisor._nursery is not None
    return pool._supervisor._nursery.pid


def descriptors(pid: int) -> list[str]:
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    return sorted(links)


def is_gone(pid: int) -> bool:
    """Neither alive nor a zombie."""
    return not os.path.exists(f"/proc/{pid}")


def is_over(pid: int) -> bool:
    """Dead; who is no child of ours may never be reaped by what is init here."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def test_one_child_serves_one_caller_for_ever(pool: Lanes) -> None:
    assert len({pid_of(pool) for _ in range(50)}) == 1


def test_callers_at_the_same_time_get_children_up_to_a_bound(pool: Lanes) -> None:
    pids: list[int] = []

    def work() -> None:
        for _ in range(20):
            pids.append(pid_of(pool))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 160
    assert 1 <= len(set(pids)) <= lanes._MOST_CHILDREN["storage"]


def test_a_child_works_in_no_directory_of_ours(pool: Lanes) -> None:
    assert pool.call(operations.FILESYSTEM, "now", deadline=LONG).path == "/"


def test_a_large_reply_passes_and_one_too_large_is_an_error(pool: Lanes) -> None:
    size = 5 * 2**20
    reply = pool.call(operations.FILESYSTEM, f"size:{size}", deadline=LONG)
    assert len(reply.kind) == size
    with pytest.raises(LaneRefused, match="internal-error"):
        pool.call(operations.FILESYSTEM, f"size:{33 * 2**20}", deadline=LONG)
    pid_of(pool)


def outcomes(pool: Lanes, *words: str, seconds: float = LONG) -> list[object]:
    """Identities, or errors, of what one question about several things brought."""
    things = [(word,) for word in words]
    told = pool.call_each(operations.FILESYSTEM, things, deadline=seconds, subjects=words)
    return [one.identity if isinstance(one, StorageFacts) else one for one in told]


def test_several_things_are_answered_in_their_order_by_one_child(pool: Lanes) -> None:
    told = pool.call_each(
        operations.FILESYSTEM,
        [(f"size:{number}",) for number in range(20)],
        deadline=LONG,
        subjects=[str(number) for number in range(20)],
    )
    assert all(isinstance(one, StorageFacts) for one in told)
    assert [len(one.kind) for one in told if isinstance(one, StorageFacts)] == list(range(20))
    assert {one.identity for one in told if isinstance(one, StorageFacts)} == {str(pid_of(pool))}


def test_a_refusal_among_several_is_that_ones_alone(pool: Lanes) -> None:
    first, refused, fault, last = outcomes(pool, "a", "refuse:file-missing", "bug", "d")
    assert first == last == str(pid_of(pool))
    assert isinstance(refused, LaneRefused)
    assert refused.code == "file-missing"
    assert isinstance(fault, LaneRefused)
    assert fault.code == "internal-error"


def test_who_hangs_among_several_is_known_and_those_before_it_are_answered(
    pool: Lanes, gate: Gate
) -> None:
    first = str(pid_of(pool))
    told = outcomes(pool, "a", "b", gate.word, "d", seconds=2.0)
    assert told[:2] == [first, first]
    assert isinstance(told[2], DeadlineMissed)
    assert told[2].subject == gate.word
    assert len(told) == 3
    assert pool.unanswered() == {gate.word}
    assert outcomes(pool, "d") != [first]
    gate.open()
    wait_for(lambda: not pool.unanswered())
    assert pool.returned() == [gate.word]


def test_each_of_several_has_the_whole_deadline(pool: Lanes) -> None:
    told = outcomes(pool, *["sleep:0.5"] * 5, seconds=2.0)
    assert told == [str(pid_of(pool))] * 5


def test_all_of_several_end_in_time_however_quick_each_is(pool: Lanes) -> None:
    pid_of(pool)
    told = pool.call_each(
        operations.FILESYSTEM,
        [("sleep:0.5",)] * 20,
        deadline=LONG,
        subjects=["x"] * 20,
        all_seconds=2.0,
    )
    assert 1 <= len(told) < 20
    assert isinstance(told[-1], DeadlineMissed)


def test_answers_to_several_may_be_as_large_together_as_each_alone(pool: Lanes) -> None:
    size = 5 * 2**20
    things = [(f"size:{size}",)] * 10
    told = pool.call_each(operations.FILESYSTEM, things, deadline=LONG, subjects=["x"] * 10)
    assert [len(one.kind) for one in told if isinstance(one, StorageFacts)] == [size] * 10


def test_as_many_are_asked_as_a_question_has_room_for(pool: Lanes) -> None:
    large = [("now" + " " * (12 * 2**20),)] * 5
    told = pool.call_each(operations.FILESYSTEM, large, deadline=LONG, subjects=["x"] * 5)
    assert len(told) == 2
    assert all(isinstance(one, StorageFacts) for one in told)
    first = pid_of(pool)
    with pytest.raises(LaneRefused, match="a question of"):
        pool.call(operations.FILESYSTEM, "x" * (33 * 2**20), deadline=LONG, subject="x")
    assert pid_of(pool) == first
    assert not pool.unanswered()


def test_one_of_several_that_kills_the_lane_takes_nobody_along(pool: Lanes) -> None:
    words = ["a", "die", "c"]
    told: list[object] = []
    while len(told) < 3:
        told += outcomes(pool, *words[len(told) :])
    assert isinstance(told[1], LaneBroken)
    assert isinstance(told[0], str)
    assert isinstance(told[2], str)


def test_without_a_lane_the_first_of_several_is_told_so(
    pool: Lanes, tmp_path: pathlib.Path
) -> None:
    gates = [Gate(tmp_path / str(n)) for n in range(lanes._MOST_PARKED["storage"])]
    for one in gates:
        assert isinstance(outcomes(pool, one.word, "b", seconds=0.05)[0], DeadlineMissed)
    (told,) = outcomes(pool, "a", "b")
    assert isinstance(told, LaneRefused)
    assert told.code == "storage-unresponsive"
    for one in gates:
        one.open()


def test_what_needs_a_token_is_asked_alone(pool: Lanes) -> None:
    with pytest.raises(ValueError, match="token"):
        pool.call_each(
            operations.AGENT,
            [("a", "1", 1), ("b", "1", 1)],
            deadline=LONG,
            subjects=["a", "b"],
        )


def test_a_refusal_keeps_its_code(pool: Lanes) -> None:
    first = pid_of(pool)
    with pytest.raises(LaneRefused) as caught:
        pool.call(operations.FILESYSTEM, "refuse:file-missing", deadline=LONG)
    assert (caught.value.code, caught.value.detail) == ("file-missing", "because")
    assert pid_of(pool) == first


def test_a_fault_of_ours_is_named_and_survived(pool: Lanes) -> None:
    first = pid_of(pool)
    with pytest.raises(LaneRefused) as caught:
        pool.call(operations.FILESYSTEM, "bug", deadline=LONG)
    assert caught.value.code == "internal-error"
    assert "a fault of ours" in caught.value.detail
    assert pid_of(pool) == first


def test_arguments_and_results_are_checked(pool: Lanes) -> None:
    with pytest.raises(LaneRefused, match="ValidationError"):
        pool.call(operations.FILESYSTEM, 7, deadline=LONG)
    with pytest.raises(LaneBroken, match="promised"):
        pool.call(operations.FILESYSTEM, "wrong-type", deadline=LONG)


def test_a_child_that_dies_is_replaced_and_asked_again(pool: Lanes, tmp_path: pathlib.Path) -> None:
    first = pid_of(pool)
    assert pid_of(pool, f"die-once:{tmp_path}/dead") != first
    with pytest.raises(LaneBroken, match="status 3"):
        pool.call(operations.FILESYSTEM, "die", deadline=LONG)
    pid_of(pool)


def test_kill_9_between_calls_goes_unnoticed(pool: Lanes) -> None:
    first = pid_of(pool)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: is_over(first))
    assert pid_of(pool) != first
    wait_for(lambda: is_gone(first))


def test_a_child_that_died_idle_is_not_asked_what_may_not_be_repeated(pool: Lanes) -> None:
    assert pool.call(operations.AGENT, "a", "1", 1, deadline=LONG) == b"1"
    (pid,) = pids_of(pool)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_over(pid))
    assert pool.call(operations.AGENT, "a", "2", 1, deadline=LONG) == b"2"


def test_kill_9_during_an_agent_call_is_not_repeated(pool: Lanes, gate: Gate) -> None:
    error: list[BaseException] = []

    def ask() -> None:
        try:
            pool.call(operations.AGENT, gate.word, "{}", 60, deadline=LONG)
        except LaneBroken as broken:
            error.append(broken)

    asking = threading.Thread(target=ask)
    asking.start()
    gate.await_begun()
    for pid in pids_of(pool):
        os.kill(pid, signal.SIGKILL)
    asking.join(LONG)
    assert "signal 9" in str(error[0])
    # Its token is held by an orphan now; the other one is free.
    assert pool.call(operations.AGENT, "b", "{}", 1, deadline=LONG) == b"{}"
    assert len(pool._tokens._orphans) == 1


def test_a_child_that_talks_nonsense_is_replaced(
    pool: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pid_of(pool)
    with pytest.raises(LaneBroken, match="protocol"):
        pool.call(operations.FILESYSTEM, "garbage", deadline=LONG)
    assert pid_of(pool) != first


def test_a_missed_deadline_parks_the_child_and_others_go_on(pool: Lanes, gate: Gate) -> None:
    first = pid_of(pool)
    with pytest.raises(DeadlineMissed) as caught:
        pool.call(operations.FILESYSTEM, gate.word, deadline=0.05, subject="the mount")
    assert caught.value.subject == "the mount"
    assert pid_of(pool) != first
    assert not is_gone(first)
    assert pool.returned() == []
    gate.open()
    wait_for(lambda: is_gone(first))
    assert pool.returned() == ["the mount"]
    assert pool.returned() == []


def test_the_time_to_start_a_child_is_not_held_against_the_subject(pool: Lanes) -> None:
    # A Python cannot start and import in a tenth of a millisecond.
    with contextlib.suppress(DeadlineMissed):
        pool.call(operations.FILESYSTEM, "now", deadline=0.0001)
    assert pool._parked["storage"] <= 1
    pid_of(pool)


def test_parked_children_have_a_bound(
    pool: Lanes, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lanes._MOST_PARKED, "storage", 3)
    for _ in range(3):
        with pytest.raises(DeadlineMissed):
            pool.call(operations.FILESYSTEM, gate.word, deadline=0.02)
    with pytest.raises(LaneRefused) as caught:
        pid_of(pool)
    assert caught.value.code == "storage-unresponsive"
    gate.open()
    wait_for(lambda: len(pool.returned()) > 0 or pool._parked["storage"] < 3)
    pid_of(pool)


def test_busy_children_have_a_bound_and_waiting_has_an_end(
    pool: Lanes, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lanes._MOST_CHILDREN, "storage", 2)
    threads = [
        threading.Thread(target=lambda: pool.call(operations.FILESYSTEM, gate.word, deadline=LONG))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: pool._count["storage"] == 2 and not pool._idle["storage"])
    with pytest.raises(LaneRefused, match="no time"):
        pool.call(operations.FILESYSTEM, "now", deadline=0.05)
    gate.open()
    for thread in threads:
        thread.join(LONG)


def test_a_stuck_stats_call_keeps_its_token_until_the_reply(pool: Lanes, gate: Gate) -> None:
    with pytest.raises(DeadlineMissed):
        stats_of(pool, gate.word, 0.05)
    with pytest.raises(NoToken) as caught:
        stats_of(pool, "b", LONG)
    assert caught.value.holders == (gate.word,)
    # What needs no token goes on.
    assert pool.call(operations.CONTROL, "b", QEMU, deadline=LONG) is None
    gate.open()
    wait_for(lambda: pool.returned() == [gate.word])
    assert stats_of(pool, "b", LONG) == {}


def test_killing_a_parked_child_frees_no_token(pool: Lanes, gate: Gate) -> None:
    gate.libvirt_says_busy(10_000_000)
    with pytest.raises(DeadlineMissed):
        stats_of(pool, gate.word, 0.05)
    parked = parked_pid(pool)
    os.kill(parked, signal.SIGKILL)
    wait_for(lambda: is_gone(parked))
    with pytest.raises(NoToken):
        stats_of(pool, "b", LONG)
    assert pool.returned() == []
    gate.libvirt_says_busy(1)  # another call's job, younger than ours
    time.sleep(1.1)
    assert stats_of(pool, "b", LONG) == {}


def test_an_orphan_ends_when_libvirt_shows_no_job(pool: Lanes, gate: Gate) -> None:
    gate.libvirt_says_busy(10_000_000)
    with pytest.raises(DeadlineMissed):
        stats_of(pool, gate.word, 0.05)
    parked = parked_pid(pool)
    os.kill(parked, signal.SIGKILL)
    wait_for(lambda: any(token.orphaned for token in pool.tokens()))
    gate.libvirt_says_busy(None)
    assert stats_of(pool, "b", LONG) == {}


def test_two_guests_at_once_and_a_third_waits(pool: Lanes, gate: Gate) -> None:
    threads = [
        threading.Thread(
            target=lambda: pool.call(operations.AGENT, gate.word, "{}", 60, deadline=LONG)
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(pool._tokens._active) == 2)
    third: list[bytes] = []
    waiting = threading.Thread(
        target=lambda: third.append(pool.call(operations.AGENT, "c", "3", 1, deadline=LONG))
    )
    waiting.start()
    time.sleep(0.05)
    assert third == []
    gate.open()
    for thread in [*threads, waiting]:
        thread.join(LONG)
    assert third == [b"3"]


def test_close_leaves_no_process_and_remembers(tmp_path: pathlib.Path, gate: Gate) -> None:
    state = tmp_path / "tokens.json"
    gate.libvirt_says_busy(10_000_000)
    with Lanes("none", state_path=state) as pool:
        pid_of(pool)
        with pytest.raises(DeadlineMissed):
            pool.call(operations.FILESYSTEM, gate.word, deadline=0.05)
        with pytest.raises(DeadlineMissed):
            stats_of(pool, gate.word, 0.05)
        pids = [nursery_of(pool), *pids_of(pool)]
        assert len(pids) >= 3
    assert all(is_gone(pid) for pid in pids)
    with Lanes("none", state_path=state) as pool:
        with pytest.raises(NoToken):
            stats_of(pool, "b", LONG)
        gate.libvirt_says_busy(None)
        assert stats_of(pool, "b", LONG) == {}
    with Lanes("none", state_path=state) as pool:
        assert stats_of(pool, "b", LONG) == {}


def test_close_remembers_calls_that_are_within_their_deadline(
    tmp_path: pathlib.Path, gate: Gate
) -> None:
    state = tmp_path / "tokens.json"
    gate.libvirt_says_busy(10_000_000)
    pool = Lanes("none", state_path=state)

    def ask() -> None:
        with contextlib.suppress(LaneBroken):
            stats_of(pool, gate.word, LONG)

    asking = threading.Thread(target=ask)
    asking.start()
    gate.await_begun()
    pool.close()
    asking.join(LONG)
    with Lanes("none", state_path=state) as pool, pytest.raises(NoToken) as caught:
        stats_of(pool, "b", LONG)
    assert caught.value.holders == (gate.word,)


def test_close_ends_calls_in_other_threads(gate: Gate) -> None:
    pool = Lanes("none", state_path=None)
    ended: list[str] = []

    def ask() -> None:
        try:
            pool.call(operations.FILESYSTEM, gate.word, deadline=LONG)
        except LaneBroken as error:
            ended.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    gate.await_begun()
    pool.close()
    asking.join(LONG)
    assert len(ended) == 1
    with pytest.raises(LaneBroken, match="closed"):
        pid_of(pool)
    pool.close()


def test_children_are_not_of_the_thread_that_asked(pool: Lanes) -> None:
    """The kernel kills a child when the *thread* that started it ends."""
    pids: list[int] = []
    asking = threading.Thread(target=lambda: pids.append(pid_of(pool)))
    asking.start()
    asking.join()
    time.sleep(0.1)
    assert pid_of(pool) == pids[0]


def test_kill_9_of_the_parent_leaves_no_process(tmp_path: pathlib.Path) -> None:
    script = f"""
import sys, threading
sys.path.insert(0, {os.getcwd()!r})
from nova_diskaudit.lane import nursery, operations
from nova_diskaudit.lane.lanes import *
nursery.COMMAND = (sys.executable, "-I", {str(WORKER)!r})
pool = Lanes("none", state_path=None)
idle = pool.call(operations.FILESYSTEM, "now", deadline=100).identity
word = "until:{tmp_path}/never"
threading.Thread(
    target=lambda: pool.call(operations.AGENT, word, "", 1, deadline=100), daemon=True
).start()
def pids():
    return [c.pid for c in list(pool._supervisor._children) if c.pid]
while not pool._tokens._active or len(pids()) < 2:
    pass
print(pool._supervisor._nursery.pid, *pids(), flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    wait_for((tmp_path / "never.begun").exists)
    assert len(pids) == 3
    parent.kill()
    parent.communicate()

    wait_for(lambda: all(is_over(pid) for pid in pids))


def test_ctrl_c_in_a_call_parks_it(pool: Lanes, gate: Gate) -> None:
    pid_of(pool)
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pool.call(operations.FILESYSTEM, gate.word, deadline=LONG)
    assert pool._parked["storage"] == 1
    pid_of(pool)


def test_children_have_a_session_of_their_own(pool: Lanes) -> None:
    pid = pid_of(pool)
    assert os.getsid(pid) == pid
    ignored = next(
        line
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("SigIgn:")
    )
    assert int(ignored.split()[1], 16) & 1 << (signal.SIGINT - 1)


def test_a_child_inherits_neither_files_nor_environment(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_PASSWORD", "secret")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("LIBVIRT_AUTH_FILE", "/etc/auth.conf")
    with open(tmp_path / "open", "w") as file:
        os.set_inheritable(file.fileno(), True)
        with Lanes("none", state_path=None) as pool:
            pid = pid_of(pool)
            environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
            links = descriptors(pid)
    assert b"secret" not in environment and b"PYTHONPATH" not in environment
    assert b"LIBVIRT_AUTH_FILE=/etc/auth.conf" in environment
    assert links[:-1] == ["/dev/null"] * 3
    assert links[-1].startswith("socket:")


def test_no_libvirt_is_one_clear_line() -> None:
    with Lanes("no-libvirt", state_path=None) as pool, pytest.raises(LaneRefused) as caught:
        pid_of(pool)
    assert caught.value.code == "no-connection"
    assert "libvirt" in caught.value.detail


def test_a_child_that_cannot_start_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, "COMMAND", (sys.executable, "-I", "-c", "raise SystemExit(1)"))
    with Lanes("none", state_path=None) as pool, pytest.raises(LaneBroken, match="installed"):
        pid_of(pool)
    monkeypatch.setattr(nursery, "COMMAND", ("/nonexistent/python",))
    with Lanes("none", state_path=None) as pool, pytest.raises(LaneBroken, match="started"):
        pid_of(pool)


# --- the nursery ----------------------------------------------------------------------------------


def test_all_children_come_from_one_nursery(pool: Lanes) -> None:
    pool.warm_up("storage", "monitor", "evidence", "guest")
    assert pool.call(operations.CONTROL, "b", QEMU, deadline=LONG) is None
    pid_of(pool)
    for pid in pids_of(pool):
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        assert int(stat.rpartition(")")[2].split()[1]) == nursery_of(pool)


def test_a_child_has_its_own_socket_and_no_other(pool: Lanes, gate: Gate) -> None:
    with pytest.raises(DeadlineMissed):
        pool.call(operations.FILESYSTEM, gate.word, deadline=0.05)
    with pytest.raises(DeadlineMissed):
        stats_of(pool, gate.word, 0.05)
    # Forked while two hang, and while the nursery has pidfds of both.
    pid_of(pool)
    assert pool.call(operations.AGENT, "a", "1", 1, deadline=LONG) == b"1"
    pids = pids_of(pool)
    assert len(pids) == 4
    sockets = set()
    for pid in pids:
        links = descriptors(pid)
        assert links[:-1] == ["/dev/null"] * 3
        sockets.add(links[-1])
    assert len(sockets) == 4 and all(link.startswith("socket:") for link in sockets)
    kept = [link for link in descriptors(nursery_of(pool)) if link.startswith("socket:")]
    assert len(kept) == 1 and not sockets & set(kept)


def test_two_hundred_starts_leave_neither_zombie_nor_descriptor(pool: Lanes) -> None:
    def left() -> tuple[int, int, str]:
        wait_for(lambda: len(pool._supervisor._children) <= 1)
        pid = nursery_of(pool)
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
        wait_for(lambda: len(children.read_text().split()) == 1)
        return len(os.listdir("/proc/self/fd")), len(descriptors(pid)), children.read_text()

    pid_of(pool)
    before = left()
    for _ in range(100):  # each is asked twice
        with pytest.raises(LaneBroken, match="status 3"):
            pool.call(operations.FILESYSTEM, "die", deadline=LONG)
    pid_of(pool)

    def is_clean() -> bool:
        ours, theirs, _ = left()
        # What an earlier test left behind may be gone by now, and closing takes a moment.
        return ours <= before[0] and theirs <= before[1]

    wait_for(is_clean)
    assert left()[2] != before[2]


def test_kill_9_of_the_nursery_in_the_middle_of_calls(
    pool: Lanes, gate: Gate, tmp_path: pathlib.Path
) -> None:
    guest = Gate(tmp_path / "guest")
    gate.libvirt_says_busy(10_000_000)
    error: list[BaseException] = []

    def ask() -> None:
        try:
            pool.call(operations.AGENT, guest.word, "{}", 60, deadline=LONG)
        except LaneBroken as broken:
            error.append(broken)

    pid_of(pool)
    with pytest.raises(DeadlineMissed):
        stats_of(pool, gate.word, 0.05)
    asking = threading.Thread(target=ask)
    asking.start()
    guest.await_begun()
    pids, first = pids_of(pool), nursery_of(pool)
    os.kill(first, signal.SIGKILL)
    asking.join(LONG)
    assert len(pids) == 3
    assert "nursery" in str(error[0]) and "signal 9" in str(error[0])
    wait_for(lambda: all(is_over(pid) for pid in pids))
    wait_for(lambda: is_gone(first))
    # What hung is nobody's, and what was idle is replaced unnoticed.
    wait_for(lambda: len(pool._tokens._orphans) == 2)
    assert pool.unanswered() == frozenset()
    pid_of(pool)
    assert nursery_of(pool) != first
    with pytest.raises(NoToken):
        stats_of(pool, "b", LONG)
    gate.libvirt_says_busy(None)
    assert stats_of(pool, "b", LONG) == {}
    wait_for(lambda: len(pool._supervisor._children) == 3)


def test_a_nursery_that_does_not_answer_is_given_up(
    pool: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = pid_of(pool)
    first = nursery_of(pool)
    os.kill(first, signal.SIGSTOP)
    # Who lives already does not need it.
    assert pid_of(pool) == pid
    with monkeypatch.context() as brief:
        brief.setattr(nursery, "_ANSWER_SECONDS", 0.2)
        with pytest.raises(LaneBroken, match=r"nursery, which has not answered for 0\.2 s"):
            pool.call(operations.AGENT, "a", "1", 1, deadline=LONG)
    assert pool.call(operations.AGENT, "a", "1", 1, deadline=LONG) == b"1"
    assert nursery_of(pool) != first
    wait_for(lambda: is_gone(first))


def test_a_nursery_that_never_begins_is_given_up_and_close_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forever = (sys.executable, "-I", "-c", "import time; time.sleep(600)")
    monkeypatch.setattr(nursery, "COMMAND", forever)
    with Lanes("none", state_path=None) as pool:
        pool.warm_up("storage", "guest")
        pid = nursery_of(pool)
    assert is_gone(pid)
    monkeypatch.setattr(nursery, "_ANSWER_SECONDS", 0.2)
    with Lanes("none", state_path=None) as pool, pytest.raises(LaneBroken, match="not answered"):
        pid_of(pool)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("raise SystemExit(1)", "is nova_diskaudit installed"),
        ("raise SystemExit(0)", "is nova_diskaudit installed"),
        ("import os; os.kill(os.getpid(), 15)", "killed by signal 15"),
        ("import os, time; os.write(0, b'nonsense'); time.sleep(600)", "protocol"),
        # Born, but nobody can be told how to end it.
        (r"import os, time; os.write(0, b'\x92\xa4born\x01'); time.sleep(600)", "protocol"),
        # Three births were told where two were wanted.
        (r"import os; [os.write(0, b'\x92\xa6unborn\xa2no') for _ in 'abc']", "no"),
        (
            "from nova_diskaudit.lane import forker\n"
            "def fail(*_): raise OSError(11, 'no room')\n"
            "forker._fork = fail\n"
            "forker.main('none')",
            "storage lane cannot be started: no room",
        ),
    ],
)
def test_a_nursery_that_does_not_work_is_one_clear_line(
    script: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nursery, "COMMAND", (sys.executable, "-I", "-c", script))
    with Lanes("none", state_path=None) as pool:
        with pytest.raises(LaneBroken, match=words):
            pid_of(pool)
        wait_for(lambda: not pool._supervisor._children)

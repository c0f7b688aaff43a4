# SPDX-License-Identifier: Apache-2.0
"""The spool: what it keeps, what it gives up, and what it does with a file that is damaged."""

from __future__ import annotations

import datetime
import json
import logging
import os
import pathlib
import random
import sqlite3
import stat
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_diskaudit import protocol
from nova_diskaudit.agent.spool import KEPT_WHOLE, Spool, SpoolError, SpoolHeld
from tests.contract import reports

MINUTE = datetime.timedelta(minutes=1)
HOUR = 60 * MINUTE


class Lean(Spool):
    """Without room of its own: what is damaged is something that is used."""

    reserved_bytes = 0


class Clock:
    def __init__(self) -> None:
        self.now = reports.NOON

    def __call__(self) -> datetime.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: pathlib.Path, clock: Clock) -> Iterator[Spool]:
    made = Spool(tmp_path, now=clock)
    yield made
    made.close()


def state(minutes: float = 0, instances: int = 1, host: str = "compute-1") -> protocol.State:
    return reports.state(instances, as_of=reports.NOON + minutes * MINUTE, host=host)


def drain(spool: Spool) -> list[protocol.State]:
    found = []
    while (one := spool.oldest()) is not None:
        found.append(one)
        spool.acknowledge(one.id)
        assert len(found) < 1000
    return found


def ids(states: list[protocol.State]) -> list[str]:
    return [one.id for one in states]


# --- order and acknowledgement ----------------------------------------------------------------


def test_the_oldest_comes_first_and_stays_until_it_is_acknowledged(spool: Spool) -> None:
    first, second = state(0), state(5)
    assert spool.oldest() is None and spool.acked() is None
    spool.append(first)
    spool.append(second)
    assert spool.oldest() == first and spool.oldest() == first
    spool.acknowledge(first.id)
    assert spool.acked() == first and spool.oldest() == second
    spool.acknowledge(second.id)
    assert spool.acked() == second and spool.oldest() is None


def test_everything_is_there_after_a_restart(tmp_path: pathlib.Path, clock: Clock) -> None:
    states = [state(minutes) for minutes in range(5)]
    before = Spool(tmp_path, now=clock)
    for one in states:
        before.append(one)
    assert before.oldest() == states[0]
    before.acknowledge(states[0].id)
    before.close()
    after = Spool(tmp_path, now=clock)
    assert after.agent == before.agent
    assert after.acked() == states[0]
    assert drain(after) == states[1:]
    after.close()


def test_a_new_file_is_a_new_agent(tmp_path: pathlib.Path) -> None:
    names = set()
    for number in range(3):
        directory = tmp_path / str(number)
        directory.mkdir()
        one = Spool(directory)
        names.add(one.agent)
        assert protocol.is_id(one.agent)
        one.close()
    assert len(names) == 3


def test_the_same_state_is_kept_once(spool: Spool) -> None:
    one = state()
    spool.append(one)
    spool.append(one)
    assert drain(spool) == [one]


def test_an_acknowledgement_that_comes_twice(spool: Spool) -> None:
    one, two = state(0), state(1)
    spool.append(one)
    spool.append(two)
    spool.acknowledge(one.id)
    spool.acknowledge(one.id)
    assert spool.acked() == one and spool.oldest() == two


def test_an_acknowledged_state_takes_no_room_among_the_pending(spool: Spool) -> None:
    spool.append(state())
    drain(spool)
    status = spool.status()
    assert (status.depth, status.bytes, status.oldest_as_of) == (0, 0, None)
    spool.append(state(7))
    status = spool.status()
    assert status.depth == 1 and status.bytes > 100
    assert status.oldest_as_of == reports.NOON + 7 * MINUTE


# --- what is given up -------------------------------------------------------------------------


def test_twelve_are_kept_whole(spool: Spool) -> None:
    states = [state(5 * number) for number in range(KEPT_WHOLE)]
    for one in states:
        spool.append(one)
    status = spool.status()
    assert (status.depth, status.thinned, status.dropped) == (KEPT_WHOLE, 0, 0)
    assert drain(spool) == states


def test_older_ones_are_thinned_to_the_last_of_each_hour(spool: Spool) -> None:
    states = [state(5 * number) for number in range(12 * 5)]  # five hours
    for one in states:
        spool.append(one)
    # Four hours are older than the newest twelve; of each the last one is left.
    expected = [states[11], states[23], states[35], states[47], *states[48:]]
    status = spool.status()
    assert (status.depth, status.thinned) == (len(expected), 60 - len(expected))
    assert status.dropped == 0
    assert ids(drain(spool)) == ids(expected)


def test_what_is_too_old_goes_but_never_the_newest(spool: Spool, clock: Clock) -> None:
    states = [state(60 * number) for number in range(10)]
    for one in states:
        spool.append(one)
    clock.now = reports.NOON + 7 * 24 * HOUR + 5.5 * HOUR
    newest = state(60 * 10)
    spool.append(newest)
    assert ids(drain(spool)) == ids([*states[6:], newest])
    assert spool.status().dropped == 6
    clock.now += 365 * 24 * HOUR
    late = state(60 * 11)
    spool.append(late)
    assert drain(spool) == [late]


def test_what_is_too_much_goes_but_never_the_newest(tmp_path: pathlib.Path, clock: Clock) -> None:
    one = state(0, 50)
    size = 0
    with_one = tmp_path / "one"
    with_one.mkdir()
    probe = Spool(with_one, now=clock)
    probe.append(one)
    size = probe.status().bytes
    probe.close()
    spool = Spool(tmp_path, now=clock, max_bytes=int(3.5 * size))
    states = [state(number, 50) for number in range(8)]
    for each in states:
        spool.append(each)
    status = spool.status()
    assert (status.depth, status.dropped) == (3, 5) and status.bytes <= 3.5 * size
    assert drain(spool) == states[5:]
    spool.limit(max_age_seconds=7 * 86400, max_bytes=1)
    states = [state(number, 50) for number in range(8)]
    for each in states:
        spool.append(each)
    assert ids(drain(spool)) == [states[-1].id]
    spool.close()


def test_what_is_under_way_is_not_given_up(spool: Spool, clock: Clock) -> None:
    first = state(0)
    spool.append(first)
    assert spool.oldest() == first
    clock.now += 30 * 24 * HOUR
    for number in range(20):
        spool.append(state(30 * 24 * 60 + number))
    spool.acknowledge(first.id)
    assert spool.acked() == first and spool.status().dropped == 0


def test_what_is_under_way_is_not_thinned(spool: Spool) -> None:
    states = [state(number) for number in range(KEPT_WHOLE + 5)]
    spool.append(states[0])
    assert spool.oldest() == states[0]
    for one in states[1:]:
        spool.append(one)
    assert spool.oldest() == states[0]
    spool.put_back()
    spool.append(state(30))
    assert spool.oldest() == states[5]


def test_what_was_put_back_is_given_up_like_the_others(spool: Spool, clock: Clock) -> None:
    first = state(0)
    spool.append(first)
    assert spool.oldest() == first
    spool.put_back()
    clock.now += 30 * 24 * HOUR
    second = state(30 * 24 * 60)
    spool.append(second)
    assert spool.status().dropped == 1
    assert spool.oldest() == second
    # The service had it nevertheless: the next one is sent whole, and nothing breaks.
    spool.acknowledge(first.id)
    assert spool.acked() is None and spool.oldest() == second


@settings(max_examples=25, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([1, 5, 20, 90, 600]), min_size=1, max_size=60),
    sent=st.sets(st.integers(0, 60)),
)
def test_the_bounds_hold_whatever_comes(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[int], sent: set[int]
) -> None:
    clock = Clock()
    spool = Spool(tmp_path_factory.mktemp("spool"), now=clock, max_age_seconds=86400)
    minutes, kept, acknowledged = 0, [], 0
    for number, gap in enumerate(gaps):
        minutes += gap
        clock.now = reports.NOON + minutes * MINUTE
        kept.append(state(minutes))
        spool.append(kept[-1])
        if number in sent:
            oldest = spool.oldest()
            assert oldest is not None
            spool.acknowledge(oldest.id)
            acknowledged += 1
        status = spool.status()
        assert status.depth + acknowledged + status.thinned + status.dropped == number + 1
        assert status.depth <= KEPT_WHOLE + 26
    left = drain(spool)
    order = {one.id: position for position, one in enumerate(kept)}
    positions = [order[one.id] for one in left]
    assert positions == sorted(positions)
    if len(kept) - 1 not in sent:
        assert left[-1] == kept[-1]
    spool.close()


# --- what the service refuses -----------------------------------------------------------------


def test_a_rejected_state_is_kept_for_people(spool: Spool, tmp_path: pathlib.Path) -> None:
    bad, good = state(0), state(1)
    spool.append(bad)
    spool.append(good)
    assert spool.oldest() == bad
    spool.reject(bad.id, "400: no good", protocol.encode(reports.full(bad)))
    assert spool.oldest() == good and spool.status().rejected == 1
    (kept,) = (tmp_path / "rejected").iterdir()
    found = json.loads(kept.read_text())
    assert found["why"] == "400: no good" and found["report"]["id"] == bad.id
    assert bad.id in kept.name


def test_ten_rejected_ones_are_kept(spool: Spool, tmp_path: pathlib.Path, clock: Clock) -> None:
    states = [state(number) for number in range(15)]
    for one in states:
        clock.now += MINUTE
        spool.append(one)
        spool.reject(one.id, "422", b"{}")
    names = sorted(path.name for path in (tmp_path / "rejected").iterdir())
    assert [name.partition("Z-")[2] for name in names] == [f"{one.id}.json" for one in states[5:]]
    assert spool.status().rejected == 15


def test_killed_before_a_rejection_was_committed(
    spool: Spool, tmp_path: pathlib.Path, clock: Clock
) -> None:
    one = state()
    spool.append(one)
    for _ in range(3):
        clock.now += MINUTE
        spool._keep_rejected(one.id, "400", b"{}")
    spool.reject(one.id, "400", b"{}")
    assert len(list((tmp_path / "rejected").iterdir())) == 1


def test_a_rejected_state_goes_even_if_it_cannot_be_kept(
    spool: Spool, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "rejected").write_text("a file is in the way")
    one = state()
    spool.append(one)
    spool.reject(one.id, "400", b"{}")
    assert spool.oldest() is None and spool.status().rejected == 1
    assert "could not be kept" in caplog.text


# --- who may use it ---------------------------------------------------------------------------


def test_a_second_agent_is_refused(spool: Spool, tmp_path: pathlib.Path) -> None:
    with pytest.raises(SpoolHeld, match="another agent"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()


def test_a_directory_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SpoolError, match="No such file"):
        Spool(tmp_path / "no")


def test_nobody_else_may_read_it(spool: Spool, tmp_path: pathlib.Path) -> None:
    spool.append(state())
    for name in ("agent.sqlite", "agent.sqlite-wal", "agent.lock"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) & 0o077 == 0, name


def test_after_the_end_nothing_is_opened_again(spool: Spool) -> None:
    one = state()
    spool.append(one)
    spool.close()
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.acknowledge(one.id)
    spool.append(state(1))
    assert spool.oldest() is None and spool.acked() is None
    assert spool.status().in_memory


def test_a_host_that_was_renamed_begins_anew(
    spool: Spool, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    agent = spool.agent
    spool.append(state(0, host="old"))
    spool.append(state(1, host="old"))
    renamed = state(2, host="new")
    spool.append(renamed)
    assert drain(spool) == [renamed]
    assert spool.agent != agent and spool.status().dropped == 2
    assert "is of host old, and this is new" in caplog.text
    assert list(tmp_path.glob("agent.sqlite.aside-*"))


# --- damage -----------------------------------------------------------------------------------


def filled(directory: pathlib.Path, clock: Clock, *, settled: bool) -> list[protocol.State]:
    """A spool of one acknowledged and some pending states; ``settled``: without a log beside."""
    spool = Lean(directory, now=clock)
    states = [state(number, instances=8) for number in range(9)]
    for one in states:
        spool.append(one)
    spool.acknowledge(states[0].id)
    if settled:
        spool.close()
    else:
        keep = {path.name: path.read_bytes() for path in directory.glob("agent.sqlite*")}
        spool.close()
        for name, data in keep.items():
            if not name.endswith("-shm"):
                (directory / name).write_bytes(data)
    return states[1:]


def survives(
    directory: pathlib.Path, clock: Clock, before: list[protocol.State], *, settled: bool = True
) -> bool:
    """It goes on, with nothing that never was; whether it lost anything."""
    spool = Lean(directory, now=clock)
    newest = state(100)
    spool.append(newest)
    assert not spool.status().in_memory
    acked = spool.acked()
    found = drain(spool)
    known = {one.id: one for one in [*before, newest]}
    assert found[-1] == newest
    order = [list(known).index(one.id) for one in found if one.id in known]
    assert order == sorted(order)
    # An acknowledged state may come again when the file forgot that it was.
    assert all(known.get(one.id, one) == one for one in found)
    lost = ids(found) != [one.id for one in [*before, newest]]
    if acked is not None:
        assert acked.id not in known
    dropped = spool.status().dropped
    spool.close()
    again = Lean(directory, now=clock)
    assert again.oldest() is None
    again.close()
    # The end of a damaged log cannot be told from a commit that never was.
    assert dropped >= 1 or not lost or not settled
    return lost


@pytest.mark.parametrize("settled", [True, False])
def test_an_undamaged_file_loses_nothing(
    tmp_path: pathlib.Path, clock: Clock, settled: bool
) -> None:
    assert not survives(tmp_path, clock, filled(tmp_path, clock, settled=settled))


@pytest.mark.parametrize("settled", [True, False])
def test_damage_at_random_places(
    tmp_path_factory: pytest.TempPathFactory,
    clock: Clock,
    settled: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng = random.Random(7)
    caplog.set_level(logging.CRITICAL, "nova_diskaudit.agent.spool")
    lost = 0
    for _ in range(60):
        directory = tmp_path_factory.mktemp("damaged")
        before = filled(directory, clock, settled=settled)
        name = rng.choice([path.name for path in directory.glob("agent.sqlite*")])
        data = bytearray((directory / name).read_bytes())
        kind = rng.choice(["flip", "overwrite", "cut", "zero"])
        start = rng.randrange(len(data))
        length = rng.choice([1, 16, 4096])
        if kind == "flip":
            data[start] ^= 1 << rng.randrange(8)
        elif kind == "overwrite":
            data[start : start + length] = rng.randbytes(len(data[start : start + length]))
        elif kind == "zero":
            data[start : start + length] = bytes(len(data[start : start + length]))
        else:
            del data[start:]
        (directory / name).write_bytes(data)
        lost += survives(directory, clock, before, settled=settled)
    assert lost > 5


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 8192, b"SQLite format 3\0", b"SQLite format 3\0" + b"\xff" * 8176, b"x" * 100],
    ids=["empty", "zeroes", "a head", "a head and nonsense", "short"],
)
def test_a_file_that_is_something_else(
    tmp_path: pathlib.Path, clock: Clock, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "agent.sqlite").write_bytes(content)
    survives(tmp_path, clock, [])
    if content:
        assert "is corrupt" in caplog.text and "set aside" in caplog.text
        assert [p.read_bytes() for p in tmp_path.glob("agent.sqlite.aside-*Z")] == [content]


@pytest.mark.parametrize(
    "statements",
    [
        "PRAGMA user_version = 99",
        "DROP TABLE state; CREATE TABLE state (id TEXT)",
        "DROP TABLE meta; CREATE VIEW meta AS SELECT 1",
        "UPDATE meta SET value = 'nobody' WHERE key = 'agent'",
        "INSERT OR REPLACE INTO meta VALUES ('dropped', 'many')",
    ],
)
def test_a_database_of_somebody_else(
    tmp_path: pathlib.Path, clock: Clock, statements: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = filled(tmp_path, clock, settled=True)
    with sqlite3.connect(tmp_path / "agent.sqlite") as db:
        db.executescript(statements)
    db.close()
    assert survives(tmp_path, clock, before)
    assert "set aside" in caplog.text


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE state SET body = zeroblob(100) WHERE seq = 4",
        "UPDATE state SET body = 'text' WHERE seq = 4",
        "UPDATE state SET id = 'other' WHERE seq = 4",
        "UPDATE state SET body = (SELECT body FROM state WHERE seq = 5) WHERE seq = 4",
    ],
)
def test_one_damaged_row_costs_one_state(
    tmp_path: pathlib.Path, clock: Clock, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = filled(tmp_path, clock, settled=True)
    with sqlite3.connect(tmp_path / "agent.sqlite") as db:
        db.execute(statement)
    db.close()
    spool = Spool(tmp_path, now=clock)
    assert ids(drain(spool)) == ids([*before[:2], *before[3:]])
    assert spool.status().dropped == 1 and "is damaged" in caplog.text
    spool.close()


def test_damage_while_it_runs(
    spool: Spool, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        spool.append(state(number, instances=50))
    path = tmp_path / "agent.sqlite"
    spool._ask(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    path.write_bytes(b"\xff" * path.stat().st_size)
    spool._ask(lambda db: db.execute("PRAGMA shrink_memory").fetchall())
    newest = state(9)
    spool.append(newest)
    assert not spool.status().in_memory
    assert drain(spool) == [newest]
    assert spool.status().dropped >= 5 and "set aside" in caplog.text


def test_three_files_are_set_aside_at_most(tmp_path: pathlib.Path, clock: Clock) -> None:
    for number in range(6):
        clock.now += MINUTE
        (tmp_path / "agent.sqlite").write_bytes(bytes([number]) * 100)
        Spool(tmp_path, now=clock).close()
    kept = sorted(tmp_path.glob("agent.sqlite.aside-*Z"))
    assert [path.read_bytes()[0] for path in kept] == [3, 4, 5]


def test_another_file_in_its_place(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No corruption: nobody knows what that is, so it is left where it is."""
    (tmp_path / "agent.sqlite").mkdir()
    spool = Spool(tmp_path)
    spool.append(state())
    status = spool.status()
    assert status.in_memory and status.problem == os.strerror(21)
    assert spool.oldest() is None
    assert caplog.text.count("cannot be used now") == 1
    (tmp_path / "agent.sqlite").rmdir()
    newest = state(1)
    spool.append(newest)
    assert len(drain(spool)) == 2 and spool.status().problem is None
    spool.close()

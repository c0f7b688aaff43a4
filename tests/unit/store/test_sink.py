# SPDX-License-Identifier: Apache-2.0
"""What a sink is sent: only what is verified, only what may have changed, to the end."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from nova_diskaudit.store import moment, sink
from tests import reports
from tests.unit.store.test_instance import Cloud, minutes

NAMES = ("one", "two", "three", "four", "five")
UUIDS = sorted(map(reports.uuid_of, NAMES))
HOUR = 3600.0


@pytest.fixture
def sunk(engine: sa.Engine) -> Cloud:
    some = Cloud(engine)
    some.sees("a", *NAMES)
    for name in NAMES:
        some.nova(name, host="a")
    some.complete(1)
    return some


def begin(engine: sa.Engine, minute: float, whole: float = HOUR) -> sink.Pass:
    return sink.begin(engine, "s", now=minutes(minute), whole_every_seconds=whole)


def rest(engine: sa.Engine, one: sink.Pass, limit: int = 2) -> list[str]:
    """The rest of a pass, page by page."""
    found: list[str] = []
    while True:
        page, last = sink.verified(engine, one, limit=limit)
        if last is None:
            return found
        assert 0 < len(page) <= limit and page[-1].said.uuid == last
        found += [each.said.uuid for each in page]
        one = one._replace(after_uuid=last)
        sink.advance(engine, "s", one)


def run(engine: sa.Engine, minute: float, whole: float = HOUR) -> list[str]:
    """A pass from its begin to its end."""
    one = begin(engine, minute, whole)
    found = rest(engine, one)
    sink.finish(engine, "s", one)
    return found


def test_the_first_pass_is_over_everything(engine: sa.Engine, sunk: Cloud) -> None:
    assert sink.sent(engine, "s") == sink.Sent(None, None)
    assert run(engine, 10) == UUIDS
    at = moment.of(minutes(10))
    assert sink.sent(engine, "s") == sink.Sent(at, at)


def test_then_only_what_changed(engine: sa.Engine, sunk: Cloud) -> None:
    run(engine, 10)
    assert run(engine, 20) == []
    sunk.sees("a", "one", minute=25, state="paused")
    assert run(engine, 30) == [reports.uuid_of("one")]
    assert run(engine, 40) == []


def test_what_was_committed_late_is_not_missed(engine: sa.Engine, sunk: Cloud) -> None:
    run(engine, 10)
    # Received before the pass began, by a clock that differs or a transaction that waited.
    sunk.sees("a", "one", minute=9, state="paused")
    assert run(engine, 11) == [reports.uuid_of("one")]


def test_everything_again_when_it_is_due(engine: sa.Engine, sunk: Cloud) -> None:
    run(engine, 10)
    assert run(engine, 69) == []
    assert run(engine, 70) == UUIDS
    assert run(engine, 71) == []


def test_a_pass_that_was_broken_off_goes_on(engine: sa.Engine, sunk: Cloud) -> None:
    one = begin(engine, 10)
    page, last = sink.verified(engine, one, limit=2)
    assert last is not None
    sink.advance(engine, "s", one._replace(after_uuid=last))
    again = begin(engine, 20)
    assert again == one._replace(after_uuid=last)
    assert [each.said.uuid for each in page] + rest(engine, again) == UUIDS
    sink.finish(engine, "s", again)
    # Its begin counts, not its end: what changed in between is sent with the next.
    at = moment.of(minutes(10))
    assert sink.sent(engine, "s") == sink.Sent(at, at)


def test_what_changed_behind_a_pass_is_in_the_next(engine: sa.Engine, sunk: Cloud) -> None:
    one = begin(engine, 10)
    _, last = sink.verified(engine, one, limit=4)
    assert last is not None
    first = next(name for name in NAMES if reports.uuid_of(name) == UUIDS[0])
    sunk.sees("a", *NAMES, minute=12)
    sunk.sees("a", first, minute=13, state="paused")
    sink.finish(engine, "s", one)
    assert UUIDS[0] in run(engine, 20)


def test_only_what_is_verified(engine: sa.Engine, sunk: Cloud) -> None:
    sunk.sees("b", "stranger", minute=2)
    sunk.nova("elsewhere", host="c")
    sunk.sees("b", "stranger", "elsewhere", minute=3)
    sunk.complete(5)
    assert run(engine, 10) == UUIDS


def test_what_nova_confirms_later_is_sent_then(engine: sa.Engine, sunk: Cloud) -> None:
    sunk.sees("b", "new", minute=5)
    assert run(engine, 10) == UUIDS
    sunk.nova("new", minute=15, host="b")
    assert run(engine, 20) == [reports.uuid_of("new")]


def test_one_of_two_hosts(engine: sa.Engine, sunk: Cloud) -> None:
    sunk.nova("one", host="a", other_host="b")
    sunk.sees("b", "one", minute=2)
    one = begin(engine, 10)
    page, _ = sink.verified(engine, one, limit=10)
    assert [each.host for each in page if each.said.uuid == reports.uuid_of("one")] == ["a"]


def test_whose_it_is_by_novas_word(engine: sa.Engine, sunk: Cloud) -> None:
    sunk.nova("one", host="a", project_id="blue", user_id="somebody")
    page, _ = sink.verified(engine, begin(engine, 10), limit=10)
    (one,) = (each for each in page if each.said.uuid == reports.uuid_of("one"))
    assert (one.project_id, one.user_id) == ("blue", "somebody")
    # The report's time, for an instance that was renewed by it.
    assert one.said.as_of == minutes(0)


def test_what_ended(engine: sa.Engine, sunk: Cloud) -> None:
    run(engine, 10)
    for name, minute in (("one", 20), ("two", 21), ("three", 22)):
        sunk.nova(name, host="a", deleted_at=moment.of(minutes(minute)))
    one = begin(engine, 30)
    found: list[sink.Ended] = []
    while page := sink.ended(engine, one, after=found[-1].uuid if found else "", limit=2):
        found += page
    expected = {
        reports.uuid_of(name): minutes(minute)
        for name, minute in (("one", 20), ("two", 21), ("three", 22))
    }
    assert dict(found) == expected
    assert [each.uuid for each in found] == sorted(expected)
    assert not set(rest(engine, one)) & set(expected)
    sink.finish(engine, "s", one)
    assert sink.ended(engine, begin(engine, 40), after="", limit=10) == []


def test_sinks_do_not_know_each_other(engine: sa.Engine, sunk: Cloud) -> None:
    run(engine, 10)
    assert sink.begin(engine, "t", now=minutes(20), whole_every_seconds=HOUR).since_at is None

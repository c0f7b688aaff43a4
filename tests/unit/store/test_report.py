# SPDX-License-Identifier: Apache-2.0
"""How a report is judged and applied."""

from __future__ import annotations

import datetime
import random
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from nova_diskaudit import findings, protocol, record
from nova_diskaudit.store import report as store_report
from nova_diskaudit.store.tables import finding, host, sighting, storage
from tests import reports
from tests.unit.store import look

NOW = reports.NOW
TAKEOVER = 900.0


def put(
    engine: sa.Engine, report: protocol.Report, now: datetime.datetime = NOW
) -> protocol.Judgement:
    return store_report.put(engine, report, now=now, takeover_after_seconds=TAKEOVER)


def later(seconds: float) -> datetime.datetime:
    return NOW + datetime.timedelta(seconds=seconds)


def some(*names: str, draw: int | None = None, **changes: Any) -> protocol.State:
    numbers = random.Random(draw) if draw is not None else None
    return reports.state(
        instances=tuple(reports.instance(name, draw=numbers) for name in names), **changes
    )


def accepted(engine: sa.Engine, state: protocol.State, **words: Any) -> protocol.State:
    assert put(engine, reports.full(state, **words)) == protocol.Accepted()
    return state


# --- the chain --------------------------------------------------------------------------------


def test_the_first_report_of_a_host(engine: sa.Engine) -> None:
    state = accepted(engine, some("one", "two"))
    assert look.state(engine, state.host) == state
    row = look.rows(engine, host)[0]
    assert (row.instances, row.disks) == (2, 4)
    assert row.host_allocated_bytes == 4 * reports.GIB
    assert row.virtual_bytes == 80 * reports.GIB


def test_a_replay_is_a_success_and_writes_nothing(engine: sa.Engine) -> None:
    state = accepted(engine, some("one"))
    with look.written(engine) as written:
        again = put(engine, reports.full(state), later(30))
    assert again == protocol.Replay()
    assert written == []


def test_a_report_on_top_of_something_else_is_told_what_is_current(engine: sa.Engine) -> None:
    state = accepted(engine, some("one"))
    other = some("two")
    for replaces in (None, reports.uuid_of("never")):
        with look.written(engine) as written:
            judged = put(engine, reports.full(other, replaces=replaces))
        assert judged == protocol.ChainBroken(state.id)
        assert written == []
    assert look.state(engine, state.host) == state


def test_a_delta_for_a_host_that_is_not_known(engine: sa.Engine) -> None:
    judged = put(engine, reports.delta(some("one"), some("one", "two")))
    assert judged == protocol.ChainBroken(None)
    assert look.rows(engine, host) == []


def test_an_agent_holds_its_host_until_it_is_silent(engine: sa.Engine) -> None:
    state = accepted(engine, some("one"), agent="first")
    new = some("two")
    judged = put(engine, reports.full(new, agent="second", replaces=state.id), later(899))
    assert judged == protocol.Held(2)
    assert look.state(engine, state.host) == state
    judged = put(engine, reports.full(new, agent="second", replaces=state.id), later(901))
    assert judged == protocol.Accepted()
    assert look.state(engine, state.host) == new


def test_a_full_report_replaces_all(engine: sa.Engine) -> None:
    before = accepted(engine, some("one", "two"))
    after = accepted(engine, some("two", "three", draw=1), replaces=before.id)
    assert look.state(engine, after.host) == after


def test_a_delta_touches_what_it_names(engine: sa.Engine) -> None:
    before = accepted(engine, some("one", "two", "three"))
    stays = next(one for one in before.instances if one.uuid == reports.uuid_of("one"))
    changed = reports.instance("two", draw=random.Random(7))
    after = reports.state(instances=(stays, changed))
    with look.written(engine) as written:
        assert put(engine, reports.delta(before, after), later(300)) == protocol.Accepted()
    assert look.state(engine, after.host) == after
    assert [word for word in written if "sighting" in word] == [
        "INSERT sighting 1",
        "DELETE sighting 1",
    ]


def test_a_quiet_delta_writes_one_row(engine: sa.Engine) -> None:
    before = accepted(engine, some("one", "two"))
    after = reports.changed(before, id=reports.uuid_of("next"), as_of=later(300))
    with look.written(engine) as written:
        put(engine, reports.delta(before, after, sent_at=later(300)), later(300))
    assert written == ["UPDATE host 1"]
    assert look.state(engine, after.host) == after


def test_a_full_report_without_news_writes_one_row(engine: sa.Engine) -> None:
    before = accepted(engine, some("one", "two"))
    after = reports.changed(before, id=reports.uuid_of("next"), as_of=later(300))
    with look.written(engine) as written:
        put(engine, reports.full(after, replaces=before.id, sent_at=later(300)), later(300))
    assert written == ["UPDATE host 1"]
    assert look.state(engine, after.host) == after


def test_when_it_was_first_seen_stays_and_when_it_changed_moves(engine: sa.Engine) -> None:
    before = accepted(engine, some("one", "two"))
    after = some("one", draw=3)
    put(engine, reports.full(after, replaces=before.id, sent_at=later(300)), later(300))
    row = look.rows(engine, sighting)[0]
    assert row.changed_at - row.since_at == 300 * 10**6


def test_storages_come_and_go(engine: sa.Engine) -> None:
    two = (reports.storage(), reports.storage(identity="nfs:filer:/x", free_bytes=None))
    before = accepted(engine, some("one", storages=two))
    assert look.state(engine, before.host) == reports.changed(before, storages=look.in_order(two))
    after = accepted(engine, some("one"), replaces=before.id)
    assert look.state(engine, after.host) == after
    assert len(look.rows(engine, storage)) == 1


# --- what an agent may not say ------------------------------------------------------------------


@pytest.mark.parametrize("code", ["", "Not A Code", "-", "a" * 65, "a\u202eb"])
def test_a_code_that_is_none(engine: sa.Engine, code: str) -> None:
    bad = record.Finding(code=code, severity="info", message="x")
    for state in (
        some(findings=(bad,)),
        reports.state(instances=(reports.instance("one", findings=(bad,)),)),
    ):
        with pytest.raises(protocol.ReportInvalid, match="code"):
            put(engine, reports.full(state))
    assert look.rows(engine, host) == []


def test_more_codes_than_fit(engine: sa.Engine) -> None:
    many = tuple(
        record.Finding(code=f"a-{number}", severity="info", message="x") for number in range(65)
    )
    with pytest.raises(protocol.ReportInvalid, match="64"):
        put(engine, reports.full(some(findings=many)))


def test_more_storages_than_fit(engine: sa.Engine) -> None:
    disks = tuple(
        reports.disk(f"vd{number}", identity=None, storage_identity=str(number))
        for number in range(257)
    )
    state = reports.state(instances=(reports.instance("one", disks=disks),))
    with pytest.raises(protocol.ReportInvalid, match="storages"):
        put(engine, reports.full(state))


def test_what_does_not_fit_as_a_hint_is_dropped(engine: sa.Engine) -> None:
    state = reports.state(instances=(reports.instance("one", project_id="p" * 65),))
    accepted(engine, state)
    assert look.rows(engine, sighting)[0].project_id is None
    assert look.state(engine, state.host) == state


def test_sums_of_a_report_beyond_64_bits(engine: sa.Engine) -> None:
    most = 2**63 - 1
    disks = tuple(
        reports.disk(target, identity=target, virtual_bytes=most, host_allocated_bytes=most)
        for target in ("vda", "vdb")
    )
    names = ("one", "two")
    state = reports.state(instances=tuple(reports.instance(name, disks=disks) for name in names))
    accepted(engine, state)
    assert look.rows(engine, host)[0].virtual_bytes == most
    assert look.state(engine, state.host) == state
    assert look.codes(engine, "reconcile") == {"host-claim-implausible"}


def test_four_bytes_and_no_letters(engine: sa.Engine) -> None:
    state = reports.state(
        host="knoten-\N{GRINNING FACE}",
        instances=(reports.instance("one", domain="\N{GRINNING FACE}\u202e", project_id="\u00e9"),),
    )
    accepted(engine, state)
    assert look.state(engine, state.host) == state


def test_names_are_not_words(engine: sa.Engine) -> None:
    for name in ("compute", "Compute", "comput\u00e9"):
        accepted(engine, reports.state(name))
    assert len(look.rows(engine, host)) == 3


# --- clocks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [61, -61])
def test_a_clock_that_differs(engine: sa.Engine, seconds: int) -> None:
    state = some("one", as_of=later(seconds))
    accepted(engine, state, sent_at=later(seconds))
    assert look.codes(engine, "reconcile", "") == {"clock-skew"}
    words = "ahead" if seconds > 0 else "behind"
    told = [row.message for row in look.rows(engine, finding) if row.code == "clock-skew"]
    assert len(told) == 1 and f"(61 s {words})" in told[0]
    stored = look.state(engine, state.host)
    assert stored is not None and stored.as_of == (NOW if seconds > 0 else state.as_of)
    accepted(engine, some("one"), replaces=state.id)
    assert look.codes(engine, "reconcile") == set()


@pytest.mark.parametrize("seconds", [60, -60])
def test_a_clock_that_differs_little(engine: sa.Engine, seconds: int) -> None:
    state = accepted(engine, some("one", as_of=later(seconds)), sent_at=later(seconds))
    assert look.codes(engine, "reconcile") == set()
    assert look.state(engine, state.host) == state


def test_instances_from_the_future(engine: sa.Engine) -> None:
    guest = record.Guest(state="answered", as_of=NOW, checked_at=later(9**9))
    one = reports.instance("one", as_of=later(3600), guest=guest)
    state = accepted(engine, reports.state(instances=(one,)))
    stored = look.state(engine, state.host)
    assert stored is not None
    assert stored.instances[0].as_of is None
    assert stored.instances[0].guest.checked_at is None


# --- findings -------------------------------------------------------------------------------


def test_findings_of_the_agent_are_rows(engine: sa.Engine) -> None:
    stale = findings.finding("inventory-stale")
    state = accepted(engine, some("one", findings=(stale,)))
    assert look.codes(engine, "agent", "") == {"inventory-stale"}
    assert look.codes(engine, "agent", reports.uuid_of("one")) == {
        "allocation-is-high-water-mark",
        "discard-disabled",
        "shared-backing",
        "untrimmed",
    }
    disks = (reports.disk(findings=(findings.finding("untrimmed"), findings.finding("no-medium"))),)
    after = reports.state(instances=(reports.instance("one", disks=disks),))
    put(engine, reports.full(after, replaces=state.id, sent_at=later(300)), later(300))
    assert look.codes(engine, "agent", "") == set()
    since = {row.code: row.since_at for row in look.rows(engine, finding)}
    assert set(since) == {"untrimmed", "no-medium"}
    assert since["no-medium"] - since["untrimmed"] == 300 * 10**6
    accepted(engine, some(), replaces=after.id)
    assert look.rows(engine, finding) == []


def test_numbers_that_change_leave_findings_alone(engine: sa.Engine) -> None:
    before = accepted(engine, some("one", draw=1))
    after = some("one", draw=2)
    with look.written(engine) as written:
        put(engine, reports.delta(before, after))
    assert written == ["INSERT sighting 1", "UPDATE host 1"]


def test_two_agents_with_one_name(engine: sa.Engine) -> None:
    state = accepted(engine, some("one"), agent="first")
    other = some("two")
    for seconds in (100, 120):
        put(engine, reports.full(other, agent="second", replaces=state.id), later(seconds))
    assert look.codes(engine, "reconcile", "") == {"two-agents-one-host"}
    assert look.rows(engine, host)[0].contested_at - look.rows(engine, host)[0].received_at == 10**8
    # The one that holds the host goes on; the finding ends when the other has been silent.
    for seconds, expected in ((300, {"two-agents-one-host"}), (1001, set())):
        new = some("one")
        report = reports.full(new, agent="first", replaces=state.id, sent_at=later(seconds))
        assert put(engine, report, later(seconds)) == protocol.Accepted()
        assert look.codes(engine, "reconcile", "") == expected
        state = new


def test_a_filesystem_cannot_hold_more_than_it_is_large(engine: sa.Engine) -> None:
    small = reports.storage(total_bytes=3 * reports.GIB)
    before = accepted(engine, some("one", storages=(small,)))
    assert look.codes(engine, "reconcile") == set()
    # A delta with one more instance: what is known counts as well.
    after = some("one", "two", storages=(small,))
    put(engine, reports.delta(before, after))
    assert look.codes(engine, "reconcile", "") == {"host-claim-implausible"}
    quiet = reports.changed(after, id=reports.uuid_of("quiet"))
    put(engine, reports.delta(after, quiet))
    assert look.codes(engine, "reconcile", "") == {"host-claim-implausible"}
    accepted(engine, some("one", storages=(small,)), replaces=quiet.id)
    assert look.codes(engine, "reconcile") == set()


@pytest.mark.parametrize(
    "storages, code",
    [((), None), ((reports.storage(total_bytes=None),), None), ((), "reflink-shared")],
)
def test_what_cannot_be_judged_is_not_implausible(
    engine: sa.Engine, storages: tuple[record.Storage, ...], code: str | None
) -> None:
    marks = () if code is None else (findings.finding(code),)
    disks = (reports.disk(host_allocated_bytes=2**62, findings=marks),)
    if code is not None:
        storages = (reports.storage(),)
    accepted(
        engine, reports.state(instances=(reports.instance("one", disks=disks),), storages=storages)
    )
    assert look.codes(engine, "reconcile") == set()


# --- many at once -----------------------------------------------------------------------------


def _at_once(*jobs: Any) -> list[Any]:
    results: list[Any] = [None] * len(jobs)
    barrier = threading.Barrier(len(jobs))

    def run(position: int) -> None:
        barrier.wait()
        try:
            results[position] = jobs[position]()
        except Exception as error:
            results[position] = error

    threads = [threading.Thread(target=run, args=(position,)) for position in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_one_report_that_is_sent_many_times_at_once(engine: sa.Engine) -> None:
    state = some("one", "two")
    report = reports.full(state)
    results = _at_once(*[lambda: put(engine, report)] * 8)
    assert sorted(map(repr, results)) == ["Accepted()"] + ["Replay()"] * 7
    assert look.state(engine, state.host) == state


def test_reports_that_replace_the_same_one_at_once(engine: sa.Engine) -> None:
    base = accepted(engine, some("one"))
    states = [some("one", str(number), draw=number) for number in range(8)]
    jobs = [
        lambda state=state: put(engine, reports.full(state, replaces=base.id)) for state in states
    ]
    results = _at_once(*jobs)
    won = [
        state
        for state, result in zip(states, results, strict=True)
        if result == protocol.Accepted()
    ]
    assert len(won) == 1
    assert results.count(protocol.ChainBroken(won[0].id)) == 7
    assert look.state(engine, base.host) == won[0]


def test_hosts_that_report_at_once(engine: sa.Engine) -> None:
    """The same instances on all of them, as after an evacuation; none waits in vain."""
    names = [f"instance-{number}" for number in range(20)]

    def chain(name: str) -> list[protocol.Judgement]:
        done, replaces = [], None
        for draw in range(5):
            state = some(*names[draw:], draw=draw, host=name)
            done.append(put(engine, reports.full(state, replaces=replaces)))
            replaces = state.id
        return done

    results = _at_once(*[lambda name=f"compute-{number}": chain(name) for number in range(6)])
    assert results == [[protocol.Accepted()] * 5] * 6
    assert len(look.rows(engine, sighting)) == 6 * 16

# SPDX-License-Identifier: Apache-2.0
"""States and reports: what is sent is what is got, and what the service takes."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit import protocol, record
from tests.contract import reports
from tests.unit.protocol import strategies

SECOND = datetime.timedelta(seconds=1)
ID = reports.uuid_of(1000)


def over_the_wire(report: protocol.Report) -> protocol.Report:
    return protocol.decode_report(protocol.encode(report), path_host=report.host)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


@given(strategies.hosts())
def test_whatever_a_host_reports_can_be_taken(report: record.HostReport) -> None:
    """Or else one bad name in one guest would cost the report of a whole host."""
    sent = reports.full(protocol.state_of(report, ID))
    assert over_the_wire(sent) == sent


@given(strategies.hosts())
def test_no_control_character_gets_out(report: record.HostReport) -> None:
    data = protocol.encode(reports.full(protocol.state_of(report, ID)))
    for text in texts(json.loads(data)):
        assert not any(char < " " or "\ud800" <= char <= "\udfff" for char in text)


@given(strategies.hosts())
def test_what_can_be_kept_is_kept(report: record.HostReport) -> None:
    """Text that is none of the above, and numbers of 64 bits, are not touched."""
    state = protocol.state_of(report, ID)
    before = {one.uuid: one for one in report.instances}
    assert [one.uuid for one in state.instances] == sorted(before)
    for after in state.instances:
        old = before[after.uuid]
        if old.domain.isprintable():
            assert after.domain == old.domain
        for disk, same in zip(old.disks, after.disks, strict=True):
            if disk.virtual_bytes is None or disk.virtual_bytes < 2**63:
                assert same.virtual_bytes == disk.virtual_bytes
            else:
                assert same.virtual_bytes == 2**63 - 1


@given(strategies.hosts())
def test_every_time_is_set_when_it_is_shown(report: record.HostReport) -> None:
    state = protocol.state_of(report, ID)
    shown = protocol.resolved(over_the_wire_state(state))
    before = {one.uuid: one for one in report.instances}
    for one in shown.instances:
        old = before[one.uuid]
        assert one.as_of == min(old.as_of, report.as_of)
        if one.guest.state == "answered":
            checked_at, answered_at = old.guest.checked_at or old.guest.as_of, old.guest.as_of
            if checked_at is None or checked_at >= report.as_of:
                assert one.guest.checked_at == max(report.as_of, answered_at or report.as_of)
            else:
                assert one.guest.checked_at == checked_at
        else:
            assert one.guest.checked_at == old.guest.checked_at
    assert protocol.state_of(shown, ID) == state


def over_the_wire_state(state: protocol.State) -> protocol.State:
    return protocol.apply(None, over_the_wire(reports.full(state)))


def test_only_what_was_not_renewed_has_a_time_of_its_own() -> None:
    now, before = reports.NOON, reports.NOON - SECOND
    fresh, hung = reports.instance(1), reports.instance(2)
    guests = {
        1: record.Guest(state="answered", as_of=before, checked_at=now),
        2: record.Guest(state="answered", as_of=before),
    }
    report = protocol.resolved(reports.state({1: "", 2: ""}))
    report = msgspec.structs.replace(
        report,
        instances=tuple(
            msgspec.structs.replace(one, as_of=as_of, guest=guests[number])
            for number, one, as_of in (
                (1, report.instances[0], now + SECOND),
                (2, report.instances[1], before),
            )
        ),
    )
    renewed, kept = protocol.state_of(report, ID).instances
    assert (renewed.uuid, kept.uuid) == (fresh.uuid, hung.uuid)
    assert (renewed.as_of, renewed.guest.as_of, renewed.guest.checked_at) == (None, before, None)
    assert (kept.as_of, kept.guest.as_of, kept.guest.checked_at) == (before, before, before)


@given(strategies.pairs())
def test_a_difference_applied_is_the_state(pair: tuple[protocol.State, protocol.State]) -> None:
    base, state = pair
    sent = reports.delta(base, state)
    assert protocol.apply(base, sent) == state
    received = over_the_wire(sent)
    assert received == sent
    assert protocol.apply(over_the_wire_state(base), received) == state


@given(strategies.pairs())
def test_a_difference_carries_nothing_needless(
    pair: tuple[protocol.State, protocol.State],
) -> None:
    base, state = pair
    known = {one.uuid: one for one in base.instances}
    sent = reports.delta(base, state)
    assert all(known.get(one.uuid) != one for one in sent.instances)
    assert set(sent.gone) == set(known) - {one.uuid for one in state.instances}
    assert sent.storages == state.storages and sent.findings == state.findings


@given(strategies.pairs(), st.booleans())
def test_a_full_report_needs_no_base(
    pair: tuple[protocol.State, protocol.State], known: bool
) -> None:
    base, state = pair
    sent = over_the_wire(reports.full(state, replaces=base.id))
    assert protocol.apply(base if known else None, sent) == state


def test_a_quiet_host_sends_nothing_but_itself() -> None:
    base = protocol.resolved(reports.state(100))
    later = msgspec.structs.replace(
        base,
        as_of=base.as_of + 300 * SECOND,
        instances=tuple(
            msgspec.structs.replace(
                one,
                as_of=one.as_of + 301 * SECOND,
                guest=msgspec.structs.replace(one.guest, checked_at=one.as_of + 301 * SECOND),
            )
            for one in base.instances
        ),
    )
    states = (protocol.state_of(base, ID), protocol.state_of(later, reports.uuid_of(1001)))
    sent = reports.delta(*states)
    assert sent.instances == () and sent.gone == ()
    assert len(protocol.encode(sent)) < 1000


@pytest.mark.parametrize("known", [False, True])
def test_a_difference_fits_only_what_it_was_made_of(known: bool) -> None:
    sent = reports.delta(reports.state(), reports.state())
    with pytest.raises(protocol.ReportInvalid, match="another state"):
        protocol.apply(reports.state() if known else None, sent)


@pytest.mark.parametrize(("early", "kept"), [(-3600, True), (0, True), (60, True), (60.1, False)])
def test_a_time_that_has_not_come_is_not_kept(early: float, kept: bool) -> None:
    received_at = reports.NOON - early * SECOND
    expected = reports.NOON if kept else received_at
    assert protocol.stored_as_of(reports.full(reports.state()), received_at) == expected

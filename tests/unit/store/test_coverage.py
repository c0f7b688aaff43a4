# SPDX-License-Identifier: Apache-2.0
"""Why an instance is not measured, by what its report says."""

from __future__ import annotations

from typing import Any

import pytest

from nova_diskaudit import findings, protocol, record
from nova_diskaudit.store import coverage
from tests import reports

KNOWN: dict[str, Any] = {"findings": ()}
NOT_HELD: dict[str, Any] = {"host_allocated_bytes": None, "findings": ()}
NOT_USED: dict[str, Any] = {"guest_used_bytes": None, "findings": ()}


def told(*codes: str) -> tuple[record.Finding, ...]:
    return tuple(findings.finding(code) for code in codes)


def judged(*disks: record.Disk, **changes: Any) -> tuple[str | None, str | None]:
    one: protocol.Instance = reports.instance("one", disks=disks, **changes)
    return tuple(coverage.judge(one, record.totals(one.disks)))  # type: ignore[return-value]


def disk(target: str, values: dict[str, Any], *codes: str, **changes: Any) -> record.Disk:
    plain = {"identity": target, **values, "findings": told(*codes)}
    return reports.disk(target, **{**plain, **changes})


def test_what_is_measured_lacks_nothing() -> None:
    assert judged(disk("vda", KNOWN), disk("vdb", KNOWN, "untrimmed")) == (None, None)


def test_what_has_no_local_disk_lacks_nothing() -> None:
    assert judged(disk("vda", NOT_HELD, kind="volume")) == (None, None)
    assert judged(guest=record.Guest(state="agent-absent")) == (None, None)


@pytest.mark.parametrize(
    "disks, on_the_whole, expected",
    [
        ((disk("vda", NOT_HELD, "host-allocation-unknown"),), (), "host-allocation-unknown"),
        ((disk("vda", NOT_HELD, "untrimmed", "file-missing"),), (), "file-missing"),
        ((disk("vda", KNOWN, "file-missing"), disk("vdb", NOT_HELD)), (), "not-told"),
        ((disk("vda", NOT_HELD),), ("qemu-unresponsive",), "qemu-unresponsive"),
        (
            (
                disk("vda", NOT_HELD, "host-allocation-unknown"),
                disk("vdb", NOT_HELD, "storage-unresponsive"),
            ),
            (),
            "storage-unresponsive",
        ),
        ((disk("vda", NOT_HELD, "untrimmed"),), ("agent-absent",), "not-told"),
    ],
)
def test_why_what_is_held_is_not_known(
    disks: tuple[record.Disk, ...], on_the_whole: tuple[str, ...], expected: str
) -> None:
    assert judged(*disks, findings=told(*on_the_whole)) == (expected, None)


@pytest.mark.parametrize(
    "state, codes, expected",
    [
        ("agent-absent", (), "agent-absent"),
        ("agent-timeout", ("filesystem-spans-disks",), "agent-timeout"),
        ("what a later release says", (), "not-told"),
        ("x" * 500, (), "not-told"),
        ("answered", (), "no-filesystem"),
        ("answered", ("untrimmed",), "no-filesystem"),
        ("answered", ("filesystem-spans-disks",), "filesystem-spans-disks"),
    ],
)
def test_why_what_the_guest_uses_is_not_known(
    state: str, codes: tuple[str, ...], expected: str
) -> None:
    guest = record.Guest(state=state)
    assert judged(disk("vda", NOT_USED, *codes), guest=guest) == (None, expected)


def test_a_domain_that_nobody_could_describe() -> None:
    guest = record.Guest(state="domain-unreadable")
    unseen: dict[str, Any] = {"state": "unknown", "guest": guest}
    assert judged(findings=told("domain-unreadable"), **unseen) == ("domain-unreadable",) * 2
    assert judged(**unseen) == ("not-told", "domain-unreadable")
    assert judged(disk("vda", KNOWN), **unseen) == (None, None)


def test_codes_of_this_service_are_no_findings() -> None:
    own = {
        coverage.NOT_REPORTED,
        coverage.NOT_ON_A_HOST,
        coverage.UNVERIFIED,
        coverage.NO_FILESYSTEM,
        coverage.NOT_TOLD,
    }
    assert not own & findings.CATALOGUE.keys()
    assert {*coverage._OF_THE_HOST, *coverage._OF_THE_GUEST} <= findings.CATALOGUE.keys()

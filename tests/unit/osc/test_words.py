# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit import findings
from nova_diskaudit.osc import rows, words
from nova_diskaudit.store import coverage
from nova_diskaudit.text import size
from tests.unit.osc.test_rows import TOTALS

GIB = 2**30
NOW = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)

bytes_or_none = st.none() | st.integers(0, 2**63 - 1)


def row(**changes: Any) -> dict[str, Any]:
    return {**rows.sums({**TOTALS, **changes}), "reasons": [], "stale": 0}


def test_every_reason_that_the_service_gives_has_a_sentence() -> None:
    own = {
        coverage.NOT_REPORTED,
        coverage.NOT_ON_A_HOST,
        coverage.UNVERIFIED,
        coverage.NO_FILESYSTEM,
        coverage.NOT_TOLD,
    }
    guests = {code for code in findings.CATALOGUE if code.startswith(("agent-", "guest-not"))}
    told = own | guests | set(coverage._OF_THE_HOST) | set(coverage._OF_THE_GUEST)
    assert told <= set(words.REASONS)
    assert set(words.REASONS) - own <= set(findings.CATALOGUE)


def test_reasons_are_said_once_for_both_numbers() -> None:
    told = [
        {"code": "not-reported", "lacks": "host", "instances": 2},
        {"code": "agent-absent", "lacks": "guest", "instances": 1},
        {"code": "not-reported", "lacks": "guest", "instances": 2},
        {"code": "new-in-a-later-release", "lacks": "host", "instances": 1234},
    ]
    assert words.reasons(told) == [
        "2 servers without both: Nova has it on a host from which no report tells of it "
        "(not-reported)",
        "1 server without what the guest uses: it has no guest agent channel: its image lacks "
        "hw_qemu_guest_agent=yes (agent-absent)",
        "1,234 servers without what is held: new-in-a-later-release",
    ]


def test_sums_in_full() -> None:
    some = row(virtual_bytes=60 * GIB, host_allocated_bytes=6 * GIB, host_allocated_unknown=0)
    assert words.promised_in_full(some) == "60.0 GiB on 3 local disks"
    assert words.held_in_full(some) == "6.00 GiB (10 % of what is promised)"
    partly = row(host_allocated_bytes=6 * GIB, host_allocated_unknown=1)
    assert words.held_in_full(partly) == "6.00 GiB (1 of 3 disks unknown)"
    nothing = row(host_allocated_unknown=3, virtual_unknown=3)
    assert words.promised_in_full(nothing) == words.held_in_full(nothing) == "-"


def test_what_guests_say_is_called_their_word() -> None:
    said = row(
        guest_used_bytes=GIB, guest_used_unknown=1, used_low_bytes=GIB, used_high_bytes=3 * GIB
    )
    assert words.guests_say_in_full(said, "by their own word") == (
        "1.00 GiB, by their own word (1 of 3 disks unknown)\n"
        "1.00..3.00 GiB in use on all disks together"
    )
    silent = row(used_low_bytes=0, used_high_bytes=3 * GIB)
    assert words.guests_say_in_full(silent, "") == "0..3.00 GiB in use on all disks together"
    exact = row(guest_used_bytes=GIB, guest_used_unknown=0, used_low_bytes=GIB, used_high_bytes=GIB)
    assert words.guests_say_in_full(exact, "they say") == "1.00 GiB, they say"


@pytest.mark.parametrize(
    ("low", "likely", "high", "said"),
    [
        (0, GIB, 2 * GIB, "0..2.00 GiB, likely 1.00 GiB"),
        (GIB, GIB, GIB, "1.00 GiB"),
        (0, 0, 0, "0 B"),
        (0, GIB, None, "at least 0 B, likely 1.00 GiB (1 of 3 disks unknown)"),
        (GIB, 2 * GIB, None, "at least 1.00 GiB, likely 2.00 GiB (1 of 3 disks unknown)"),
        (0, 0, None, "-"),
    ],
)
def test_what_could_be_given_back(low: int, likely: int, high: int | None, said: str) -> None:
    some = row(
        reclaimable_low_bytes=low, reclaimable_likely_bytes=likely, reclaimable_high_bytes=high
    )
    assert words.reclaimable_in_full(some) == said


@given(low=bytes_or_none, likely=bytes_or_none, high=bytes_or_none)
def test_no_bound_is_made_up(low: int | None, likely: int | None, high: int | None) -> None:
    some = row(
        reclaimable_low_bytes=low, reclaimable_likely_bytes=likely, reclaimable_high_bytes=high
    )
    for said in (words.reclaimable(some), words.reclaimable_in_full(some)):
        assert "None" not in said and said
    if low is None:
        assert words.reclaimable_in_full(some) == "-"
    elif high is not None and low != high:
        assert size(high) in words.reclaimable_in_full(some)


def test_a_narrow_sum_says_when_it_is_not_all() -> None:
    key, counter = "host_allocated_bytes", "host_allocated_unknown"
    assert words.held(row(host_allocated_bytes=GIB), key, counter) == ">1.00 GiB"
    assert words.held(row(host_allocated_unknown=0), key, counter) == "7 B"
    assert words.held(row(host_allocated_unknown=3), key, counter) == "-"


def _limit(name: str, limit: int | None, used: int | None, enforced: bool | None) -> dict[str, Any]:
    return {
        "name": name,
        "limit_gib": limit,
        "used_bytes": used,
        "enforced": enforced,
        "meaning": "So it is.",
    }


@pytest.mark.parametrize(
    ("limit", "line"),
    [
        (
            _limit("class:DISK_GB", 500, 200 * GIB, True),
            "promised (class:DISK_GB): 200 GiB of 500 GiB (40 %), enforced",
        ),
        (
            _limit("class:DISK_GB", 1, 0, None),
            "promised (class:DISK_GB): 0 B of 1.00 GiB (0 %), perhaps enforced",
        ),
        (
            _limit("disk_host_allocated_gib", 100, None, False),
            "held (disk_host_allocated_gib): an unknown amount of 100 GiB, for information",
        ),
        (
            _limit("disk_guest_used_gib", None, GIB, False),
            "guests say (disk_guest_used_gib): 1.00 GiB, no limit known",
        ),
        (
            _limit("disk_guest_used_gib", 0, 0, False),
            "guests say (disk_guest_used_gib): 0 B of 0 B",
        ),
        (_limit("of_a_later_release", 1, GIB, False), "of_a_later_release: 1.00 GiB of 1.00 GiB"),
    ],
)
def test_limits(limit: dict[str, Any], line: str) -> None:
    short = words.limits_in_short([limit])
    assert short.startswith(line)
    assert words.limits([limit, limit]) == f"{short}\nSo it is.\n{short}\nSo it is."
    assert words.limits([]) == words.limits_in_short([]) == "-"


def test_limits_stand_in_the_order_of_the_sums() -> None:
    told = [
        _limit(name, 1, 0, False)
        for name in ("of_a_later_release", "disk_host_allocated_gib", "class:DISK_GB")
    ]
    lines = words.limits_in_short(told).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["promised", "held", "of_a_later_release:"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (None, "-"),
        ("", "-"),
        ("yesterday", "-"),
        ("2026-01-02T12:00:00Z", "0 s"),
        ("2026-01-02T11:59:18.5Z", "41 s"),
        ("2026-01-02T11:56:40Z", "3 min 20 s"),
        ("2026-01-02T09:00:00Z", "3 h"),
        ("2025-12-31T00:30:00Z", "2 d 11 h"),
        ("2026-01-02T12:00:05Z", "-5 s"),
        ("2026-01-02T13:00:00+02:00", "1 h"),
        ("2026-01-02T11:00:00", "1 h"),
    ],
)
def test_ages(word: str | None, said: str) -> None:
    assert words.age(word, NOW) == said


@given(st.timedeltas(datetime.timedelta(), datetime.timedelta(days=3650)))
def test_an_age_is_told_to_a_part_of_its_largest_unit(gone: datetime.timedelta) -> None:
    said = words.age((NOW - gone).isoformat(), NOW)
    seconds = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    parts = said.split(" ")
    told = [(int(number), unit) for number, unit in zip(parts[::2], parts[1::2], strict=True)]
    rest = gone.total_seconds() - sum(number * seconds[unit] for number, unit in told)
    assert 0 <= rest < {"d": 3600, "h": 60, "min": 1, "s": 1}[told[0][1]]
    assert len(told) <= 2

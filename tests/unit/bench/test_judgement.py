# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks conclude from what they saw: they must be able to find fault."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from nova_diskaudit import record
from tests.bench.chaos import went_back
from tests.bench.figures import Figure, broken, percentile, table
from tests.bench.workers import PERIOD_SECONDS, Sample, Watch, most_held
from tests.unit.render import sample

SECOND = round(1 / PERIOD_SECONDS)


def samples(*busy: int | None) -> list[Sample]:
    return [Sample(number * PERIOD_SECONDS, one) for number, one in enumerate(busy)]


@pytest.mark.parametrize(
    ("busy", "held"),
    [
        ([], 0),
        ([3] * (SECOND - 2), 0),  # busy, but for less than a second
        ([2] * (SECOND + 2), 2),
        ([5, 0] * SECOND, 0),  # short calls
        ([0] * SECOND + [4, 1] * SECOND + [0] * SECOND, 1),  # one that hangs below short ones
        ([1] * SECOND + [3] * (SECOND + 2) + [2] * SECOND, 3),
        ([2] * (SECOND - 2) + [None] + [2] * (SECOND - 2), 0),  # a daemon started anew
    ],
)
def test_only_what_lasts_is_held(busy: list[int | None], held: int) -> None:
    assert most_held(samples(*busy)) == held


def test_what_others_keep_busy_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch("")
    seen = samples(*[2] * (SECOND + 2), *[5] * (2 * SECOND), *[1] * (SECOND + 2))
    monkeypatch.setattr(watch, "_read", lambda: seen)
    assert watch.held() == 5
    theirs = [sample.at for sample in seen if sample.busy == 5]
    assert watch.held(without=[(theirs[0], theirs[-1])]) == 2
    assert watch.held(since=theirs[-1], without=[(theirs[0], theirs[-1])]) == 1


def test_a_stalled_observer_proves_nothing() -> None:
    assert most_held([Sample(0, 3), Sample(0.5, 3), Sample(1.0, 3)]) == 0


def host_report(
    minute: int, held: int | None, instance_minute: int | None = None
) -> record.HostReport:
    one = sample.report().instances[0]
    disk = msgspec.structs.replace(one.disks[0], host_allocated_bytes=held, guest_used_bytes=None)
    at = datetime.datetime(2026, 1, 1, 12, minute, tzinfo=datetime.UTC)
    own = at if instance_minute is None else at.replace(minute=instance_minute)
    one = msgspec.structs.replace(one, disks=(disk,), as_of=own)
    return msgspec.structs.replace(sample.report(), as_of=at, instances=(one,))


def test_what_grows_or_is_unknown_for_a_while_does_not_go_back() -> None:
    seen = [host_report(0, 10), host_report(1, None), host_report(2, 10), host_report(3, 11)]
    assert went_back(iter(seen), {}) == []


def test_a_stale_value_is_found_behind_one_that_was_unknown() -> None:
    seen = [host_report(0, 10), host_report(1, None), host_report(2, 9)]
    (found,) = went_back(iter(seen), {})
    assert "held 9 after 10" in found


def test_an_older_time_is_found() -> None:
    (found,) = went_back(iter([host_report(5, 1), host_report(6, 1, instance_minute=4)]), {})
    assert "as_of" in found


def test_a_broken_bound_stands_out() -> None:
    figures = [Figure("a", "1"), Figure("b", "2", "at most 1", False), Figure("c", "3", "3", True)]
    assert broken(figures) == [figures[1]]
    assert [line for line in table(figures).splitlines() if "broken" in line] == [
        "| b | 2 | at most 1 (**broken**) |"
    ]


def test_a_percentile_is_what_so_many_do_not_exceed() -> None:
    assert percentile([float(n) for n in range(1, 102)], 99) == 100

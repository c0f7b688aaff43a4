# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.osc import arguments

UTC = datetime.UTC


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("1k", 1024),
        ("1.5 MiB", 3 * 2**19),
        ("10GiB", 10 * 2**30),
        (" 10 gib ", 10 * 2**30),
        ("2T", 2 * 2**40),
        ("1P", 2**50),
        ("7EiB", 7 * 2**60),
    ],
)
def test_sizes(word: str, count: int) -> None:
    assert arguments.size(word) == count


@pytest.mark.parametrize(
    "word", ["", "GiB", "-1", "1GB ", "1 GB", "1e3", "0x10", "8E", "9" * 16, "nan", "\u0661"]
)
def test_what_is_no_size(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.size(word)


@given(st.integers(0, 10**15 - 1))
def test_bytes_are_taken_to_the_last_one(count: int) -> None:
    assert arguments.size(str(count)) == count


@pytest.mark.parametrize(
    ("word", "time"),
    [
        ("2026-01-31", datetime.datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T15:00", datetime.datetime(2026, 1, 31, 15, tzinfo=UTC)),
        ("2026-01-31T15:00:00Z", datetime.datetime(2026, 1, 31, 15, tzinfo=UTC)),
        ("2026-01-31 15:00:00+02:00", datetime.datetime(2026, 1, 31, 13, tzinfo=UTC)),
    ],
)
def test_times(word: str, time: datetime.datetime) -> None:
    assert arguments.instant(word) == time


@pytest.mark.parametrize("word", ["", "yesterday", "2026-02-30", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.instant(word)


@pytest.mark.parametrize(
    ("word", "order"),
    [
        ("host_allocated_bytes", "host_allocated_bytes:desc"),
        ("held:asc", "host_allocated_bytes:asc"),
        ("Guest says", "guest_used_bytes:desc"),
        ("reclaimable", "reclaimable_low_bytes:desc"),
        ("uuid", "uuid:asc"),
        ("ID:desc", "uuid:desc"),
    ],
)
def test_orders(word: str, order: str) -> None:
    assert arguments.sort(word) == order


@pytest.mark.parametrize("word", ["", "name", "held:", "held:up", "held:asc:desc"])
def test_what_is_no_order(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.sort(word)


@pytest.mark.parametrize("word", ["0", "-2", "", "many", "1.5", "9" * 30, "\u00b2"])
def test_what_is_no_number_of_rows(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.limit(word)


def test_numbers_of_rows() -> None:
    assert (arguments.limit("-1"), arguments.limit("1"), arguments.limit("5000")) == (-1, 1, 5000)

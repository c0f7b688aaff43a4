# SPDX-License-Identifier: Apache-2.0
import datetime
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit import text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("Müller 日本", "Müller 日本"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m", "\\x9b31m"),
        ("a\r\nb\tc\0", "a\\x0d\\x0ab\\x09c\\x00"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("\u3164\u115f\ufe0f", "\\u3164\\u115f\\ufe0f"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("no\u00a0break\u2028line", "no\\xa0break\\u2028line"),
    ],
)
def test_what_would_move_or_hide_is_made_visible(raw: str, shown: str) -> None:
    assert text.printable(raw) == shown


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_nothing_invisible_and_nothing_long_gets_through(raw: str) -> None:
    shown = text.printable(raw)
    assert len(shown) <= text.LIMIT
    for character in shown:
        category = unicodedata.category(character)
        assert category[0] not in "C" and category not in ("Zl", "Zp"), hex(ord(character))
    shown.encode()  # no surrogate is left


def test_the_limit_counts_what_is_shown() -> None:
    assert text.printable("\x1b" * 50, 10) == "\\x1b\\x1b\\…"
    assert text.printable("x" * 10, 10) == "x" * 10
    assert text.printable("x" * 500, None) == "x" * 500


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1048064, "1.00 MiB"),
        (1047552, "1023 KiB"),
        (41967616, "40.0 MiB"),
        (110268416, "105 MiB"),
        (2 * 1024**3, "2.00 GiB"),
        (10 * 1024**3 - 1, "10.0 GiB"),
        (100 * 1024**3 - 1, "100 GiB"),
        (2**63, "8.00 EiB"),
        (2**74, "16384 EiB"),
    ],
)
def test_sizes(count: int | None, shown: str) -> None:
    assert text.size(count) == shown


@given(st.integers(0, 2**60))
def test_a_shown_size_is_within_half_a_percent_of_the_truth(count: int) -> None:
    number, unit = text.size(count).split(" ")
    shown = float(number) * 1024 ** ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB").index(unit)
    assert abs(shown - count) <= 0.00501 * count


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0, None, "-"),
        (None, None, "-"),
        (0, 0, "0 B"),
        (5, 5, "5 B"),
        (0, 512 * 1024**2, "0..512 MiB"),
        (57815040, 68300800, "55.1..65.1 MiB"),
        (1024, 2 * 1024**2, "1.00 KiB..2.00 MiB"),
        (1024, None, "1.00 KiB..?"),
        (None, 1024, "?..1.00 KiB"),
    ],
)
def test_ranges(low: int | None, high: int | None, shown: str) -> None:
    assert text.between(low, high) == shown


def test_moments_are_utc() -> None:
    east = datetime.timezone(datetime.timedelta(hours=2))
    assert text.moment(datetime.datetime(2026, 1, 1, 1, 0, tzinfo=east)) == "2025-12-31 23:00:00Z"
    assert text.moment(None) == "-"

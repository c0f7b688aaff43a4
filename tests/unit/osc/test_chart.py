# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.osc import chart
from nova_diskaudit.osc.chart import ASCII, BLOCKS, Point, Style

GIB = 2**30
HOUR = datetime.timedelta(hours=1)
BEGIN = datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC)

numbers = st.none() | st.integers(0, 2**63 - 1)
points = st.lists(st.tuples(st.integers(0, 2000), numbers, numbers), min_size=1, max_size=60).map(
    lambda some: [
        Point(BEGIN + hour * HOUR, held, used)
        for hour, held, used in sorted({one[0]: one for one in some}.values())
    ]
)


def hours(*numbers: tuple[int, int | None, int | None]) -> list[Point]:
    return [Point(BEGIN + hour * HOUR, held, used) for hour, held, used in numbers]


def test_a_picture() -> None:
    some = hours((0, 4 * GIB, GIB), (1, 8 * GIB, GIB), (4, None, None), (5, 2 * GIB, 3 * GIB))
    assert chart.draw(some, HOUR, columns=60, style=BLOCKS) == (
        "8.00 GiB │    ░░░░\n"
        "         │    ░░░░\n"
        "         │    ░░░░\n"
        "         │    ░░░░\n"
        "         │░░░░░░░░\n"
        "         │░░░░░░░░            ▒▒▒▒\n"
        "         │░░░░░░░░            ████\n"
        "         │████████        ????████\n"
        "          2026-01-02 03:00Z .. 2026-01-02 08:00Z\n"
        "█ guests say they use it; ░ held beyond that; ▒ claimed\n"
        "beyond what is held; ? not known; a column is 1 hour; blank:\n"
        "nobody reported\n"
    )


def test_the_same_without_blocks() -> None:
    some = hours((0, 4 * GIB, GIB), (1, 8 * GIB, GIB))
    assert chart.draw(some, HOUR, columns=40, style=ASCII) == (
        "8.00 GiB |    ::::\n"
        "         |    ::::\n"
        "         |    ::::\n"
        "         |    ::::\n"
        "         |::::::::\n"
        "         |::::::::\n"
        "         |::::::::\n"
        "         |########\n"
        "          2026-01-02 03:00Z\n"
        "# guests say they use it; : held beyond\n"
        "that; a column is 1 hour\n"
    )


def test_a_peak_is_not_lost_where_columns_are_many_hours() -> None:
    some = hours(*((hour, GIB, 0) for hour in range(500)))
    some[251] = some[251]._replace(held_bytes=80 * GIB)
    drawn = chart.draw(some, HOUR, columns=60, style=ASCII).splitlines()
    assert drawn[0].startswith("80.0 GiB |") and drawn[0].count(":") == 1
    assert "a column is 10 hours" in " ".join(drawn)


def test_what_is_known_is_not_lost_beside_what_is_not() -> None:
    some = hours((0, None, None), (1, None, GIB), (200, GIB, GIB))
    drawn = chart.draw(some, HOUR, columns=30, style=ASCII).splitlines()
    assert drawn[0].startswith("1.00 GiB |+")


@pytest.mark.parametrize("columns", [0, 1, 10, 21])
def test_no_picture_where_there_is_no_room(columns: int) -> None:
    assert chart.draw(hours((0, 1, 1), (1, 2, 2)), HOUR, columns=columns, style=ASCII) == ""


def test_no_picture_of_nothing() -> None:
    assert chart.draw([], HOUR, columns=80, style=ASCII) == ""


@given(points, st.integers(22, 200), st.sampled_from([BLOCKS, ASCII]))
def test_it_fits_and_shows_what_is_more_than_nothing(
    some: list[Point], columns: int, style: Style
) -> None:
    lines = chart.draw(some, HOUR, columns=columns, style=style).splitlines()
    assert lines and all(len(line) <= columns for line in lines)
    picture = "".join(line[10:] for line in lines[:8])
    assert set(picture) <= {*style.used, *style.held, *style.claimed, "?", " "}
    largest = max((n for one in some for n in one[1:] if n is not None), default=0)
    assert bool(set(picture) & {*style.used, *style.held, *style.claimed}) == (largest > 0)


@given(points)
def test_what_nobody_reported_is_blank(some: list[Point]) -> None:
    wide = (some[-1].at - some[0].at) // HOUR + 1
    lines = chart.draw(some, HOUR, columns=10 + max(wide, 12), style=ASCII).splitlines()
    across = max(1, min(4, max(wide, 12) // wide))
    there = {(one.at - some[0].at) // HOUR for one in some}
    for slot in range(wide):
        column = {line[10 + slot * across : 11 + slot * across] for line in lines[:8]}
        if slot not in there:
            assert column <= {" ", ""}

# SPDX-License-Identifier: Apache-2.0
"""The past as a small picture of characters. Pure strings; no colours, no terminal.

A column is an hour or a day, or several where there are more than fit. Its lower part is what the
guests say they use, and what is held beyond that stands above it: the room between them is what
the question is about. Where nobody reported, a column is blank; it is never drawn as 0.
"""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from nova_diskaudit.text import size

_HEIGHT = 8
#: With fewer columns there is nothing to see.
_LEAST_COLUMNS = 12
#: So wide becomes a column at most where there is room.
_WIDEST = 4
#: The widest size, such as ``1023 MiB``.
_LABEL = 8


class Point(NamedTuple):
    """What was known at a time; None where it was not."""

    at: datetime.datetime
    held_bytes: int | None
    guest_used_bytes: int | None


class Style(NamedTuple):
    """The characters: ``used`` is both held and used, the others one of them alone."""

    used: str
    held: str
    claimed: str
    axis: str

    @property
    def all(self) -> str:
        """What a terminal has to be able to show."""
        return "".join(self)


BLOCKS = Style(used="█", held="░", claimed="▒", axis="│")
ASCII = Style(used="#", held=":", claimed="+", axis="|")

_UNKNOWN = "?"


def draw(points: Sequence[Point], step: datetime.timedelta, *, columns: int, style: Style) -> str:
    """Lines of at most ``columns`` characters; none at all where that is too narrow.

    :param points: from old to new, each at a whole number of steps after the first.
    """
    room = columns - _LABEL - 2
    if not points or room < _LEAST_COLUMNS:
        return ""
    first, last = points[0].at, points[-1].at
    slots = _slots(points, step, first)
    across = -(-len(slots) // room)
    shown = [_largest(slots[at : at + across]) for at in range(0, len(slots), across)]
    wide = max(1, min(_WIDEST, room // len(shown)))
    top = max((number for point in points for number in point[1:] if number is not None), default=0)
    pictures = [_column(point, top, style) for point in shown]
    lines = []
    for row in range(_HEIGHT, 0, -1):
        label = size(top) if row == _HEIGHT else ""
        line = "".join(picture[row - 1] * wide for picture in pictures)
        lines.append(f"{label:>{_LABEL}} {style.axis}{line}".rstrip())
    lines.append(f"{'':{_LABEL}}  {_times(first, last, wide * len(shown), room)}")
    lines += textwrap.wrap(_legend(pictures, style, across, step), columns)
    return "".join(f"{line}\n" for line in lines)


def _slots(
    points: Sequence[Point], step: datetime.timedelta, first: datetime.datetime
) -> list[Point | None]:
    slots: list[Point | None] = [None] * ((points[-1].at - first) // step + 1)
    for point in points:
        slots[(point.at - first) // step] = point
    return slots


def _largest(slots: Sequence[Point | None]) -> Point | None:
    """Of several points in one column that which holds most: peaks must not get lost."""
    there = [point for point in slots if point is not None]
    return max(there, key=lambda point: [-1 if n is None else n for n in point[1:]], default=None)


def _column(point: Point | None, top: int, style: Style) -> str:
    """The characters of a column from below."""
    if point is None:
        return " " * _HEIGHT
    if point.held_bytes is None and point.guest_used_bytes is None:
        return _UNKNOWN.ljust(_HEIGHT)
    held, used = _level(point.held_bytes, top), _level(point.guest_used_bytes, top)
    both = min(held, used)
    return (style.used * both + style.held * (held - both) + style.claimed * (used - both)).ljust(
        _HEIGHT
    )


def _level(number: int | None, top: int) -> int:
    """Whatever is more than nothing is to be seen."""
    return -(-number * _HEIGHT // top) if number else 0


def _times(first: datetime.datetime, last: datetime.datetime, wide: int, room: int) -> str:
    begin, end = (at.strftime("%Y-%m-%d %H:%MZ") for at in (first, last))
    if wide >= len(begin) + len(end) + 2:
        return begin + end.rjust(wide - len(begin))
    both = f"{begin} .. {end}"
    return both if len(both) <= room else begin[:room]


def _legend(pictures: Sequence[str], style: Style, across: int, step: datetime.timedelta) -> str:
    drawn = set("".join(pictures))
    parts = [
        f"{character} {meaning}"
        for character, meaning in (
            (style.used, "guests say they use it"),
            (style.held, "held beyond that"),
            (style.claimed, "claimed beyond what is held"),
            (_UNKNOWN, "not known"),
        )
        if character in drawn
    ]
    unit = "day" if step >= datetime.timedelta(days=1) else "hour"
    parts.append(f"a column is {across} {unit}{'s' if across > 1 else ''}")
    if " " * _HEIGHT in pictures:
        parts.append("blank: nobody reported")
    return "; ".join(parts)

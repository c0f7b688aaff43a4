# SPDX-License-Identifier: Apache-2.0
"""Words and sizes as people read them. Pure strings; no terminal, no colours."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable

LIMIT = 120

# Characters that str.isprintable() passes although they show nothing or glue themselves to their
# neighbours (Unicode Default_Ignorable_Code_Point and the blank Braille cell).
_INVISIBLE = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0))
) | frozenset(chr(code) for code in (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10)))

_SUSPECT = re.compile(r"[^\x20-\x7e]")

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def printable(text: str, limit: int | None = LIMIT) -> str:
    r"""``text`` with everything visible that would move, hide or forge what a terminal shows.

    Control characters, escape sequences, bidirectional and zero-width characters and lone
    surrogates become ``\x1b``, ``\u202e`` and the like. Cut to ``limit`` characters.
    """
    cut = text if limit is None else text[: limit + 1]
    shown = _SUSPECT.sub(_visible, cut)
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def json_visible(text: str) -> str:
    """The same JSON document, its invisible characters written as JSON escapes.

    Outside of its strings JSON is ASCII, so every other character may be escaped.
    """
    return _SUSPECT.sub(_json_escape, text)


def size(count: int | None) -> str:
    """Bytes in binary units with three significant digits; ``-`` when unknown."""
    if count is None:
        return "-"
    value = float(count)
    for unit in _UNITS:
        # 1023.95 would be shown as 1024: that is 1.00 of the next unit.
        if abs(value) < 1023.5 or unit == _UNITS[-1]:
            break
        value /= 1024
    if unit == "B":
        return f"{count} B"
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def exact(count: int | None) -> str:
    """Bytes to the last one, grouped; ``-`` when unknown."""
    return "-" if count is None else f"{count:,}"


def between(low: int | None, high: int | None, show: Callable[[int | None], str] = size) -> str:
    """A range of bytes; ``-`` when it says nothing, ``?`` for an unknown end."""
    if not low and high is None:
        return "-"
    if low == high:
        return show(low)
    start = "0" if low == 0 else show(low) if low is not None else "?"
    end = "?" if high is None else show(high)
    unit = end.partition(" ")[2]
    if unit and start.endswith(" " + unit):
        start = start.removesuffix(" " + unit)
    return f"{start}..{end}"


def moment(time: datetime.datetime | None) -> str:
    """A time in UTC to the second; ``-`` when unknown."""
    return "-" if time is None else time.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def duration(seconds: float) -> str:
    """Seconds as people say them, such as ``3 min 20 s``."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    whole = int(seconds)
    for span, unit, smaller, name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= span:
            rest = whole % span // smaller
            return f"{whole // span} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def _visible(match: re.Match[str]) -> str:
    character = match.group()
    if character.isprintable() and character not in _INVISIBLE:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    character = match.group()
    if character == "\n" or (character.isprintable() and character not in _INVISIBLE):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2] for at in range(0, len(units), 2))
    return "".join(f"\\u{int.from_bytes(pair):04x}" for pair in pairs)

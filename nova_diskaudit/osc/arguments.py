# SPDX-License-Identifier: Apache-2.0
"""What people write on a command line: sizes, times, how a list is sorted."""

from __future__ import annotations

import argparse
import datetime
import re

_SIZE = re.compile(
    r"([0-9]{1,15}(?:\.[0-9]{1,9})?) *(?:([KMGTPE])(?:iB)?|B)?", re.ASCII | re.IGNORECASE
)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
_MOST = 2**63 - 1

#: Sums by which the service sorts; a heading means the same as its key.
_SORT_KEYS = {
    "uuid": "uuid",
    "id": "uuid",
    "virtual_bytes": "virtual_bytes",
    "promised": "virtual_bytes",
    "host_allocated_bytes": "host_allocated_bytes",
    "held": "host_allocated_bytes",
    "guest_used_bytes": "guest_used_bytes",
    "guest_says": "guest_used_bytes",
    "reclaimable_low_bytes": "reclaimable_low_bytes",
    "reclaimable_likely_bytes": "reclaimable_likely_bytes",
    "reclaimable": "reclaimable_low_bytes",
}


def size(word: str) -> int:
    """Bytes from such as ``10GiB``, ``1.5T`` or ``4096``; units are of 1024."""
    match = _SIZE.fullmatch(word.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{word!r} is no size: write such as 10GiB, or bytes")
    number, unit = match.groups()
    count = int(float(number) * 1024 ** _POWERS[(unit or "").lower()])
    if count > _MOST:
        raise argparse.ArgumentTypeError(f"{word!r} is larger than any disk")
    return count


def instant(word: str) -> datetime.datetime:
    """A day, or a time in ISO 8601; UTC unless it names an offset."""
    try:
        at = datetime.datetime.fromisoformat(word.strip())
        return at.astimezone(datetime.UTC) if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{word!r} is no time: write such as 2026-01-31 or 2026-01-31T15:00:00Z"
        ) from None


def sort(word: str) -> str:
    """The service's word for ``KEY``, ``KEY:asc`` or ``KEY:desc``; sizes begin with the largest."""
    name, colon, direction = word.partition(":")
    key = _SORT_KEYS.get(name.strip().lower().replace(" ", "_"))
    if key is None or (colon and direction not in ("asc", "desc")):
        keys = ", ".join(sorted(set(_SORT_KEYS.values())))
        raise argparse.ArgumentTypeError(
            f"{word!r} is no order: give one of {keys}, with :asc or :desc behind it"
        )
    return f"{key}:{direction or ('asc' if key == 'uuid' else 'desc')}"


def limit(word: str) -> int:
    """How many rows, ``-1`` for all."""
    if word == "-1":
        return -1
    if not word.isascii() or not word.isdigit() or not 0 < int(word[:19]) < 2**31:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of rows: 1 or more, or -1 for all")
    return int(word)

# SPDX-License-Identifier: Apache-2.0
"""Fields that several commands have."""

from __future__ import annotations

import datetime

from nova_diskaudit.osc import words
from nova_diskaudit.osc.fields import Field
from nova_diskaudit.text import size

RECLAIMABLE = ("reclaimable_low_bytes", "reclaimable_likely_bytes", "reclaimable_high_bytes")
IN_USE = Field("In use", ("used_low_bytes", "used_high_bytes"), words.used, is_number=True)


def sums(guests: str) -> list[Field]:
    """The four sums side by side; ``guests`` heads what guests claim."""
    return [
        _sum("Promised", "virtual_bytes", "virtual_unknown"),
        _sum("Held", "host_allocated_bytes", "host_allocated_unknown"),
        _sum(guests, "guest_used_bytes", "guest_used_unknown"),
        Field("Reclaimable", RECLAIMABLE, words.reclaimable, is_number=True),
    ]


def sums_in_full(guests: str, by_whom: str) -> list[Field]:
    """The four sums below each other, with what is missing in each.

    :param by_whom: what stands behind the guests' claim.
    """
    return [
        Field("Promised", ("disks", "virtual_bytes", "virtual_unknown"), words.promised_in_full),
        Field("Held", ("host_allocated_bytes", "host_allocated_unknown"), words.held_in_full),
        Field(
            guests,
            ("guest_used_bytes", "guest_used_unknown", "used_low_bytes", "used_high_bytes"),
            lambda row: words.guests_say_in_full(row, by_whom),
        ),
        Field("Could be given back", RECLAIMABLE, words.reclaimable_in_full),
    ]


def of_bytes(title: str, key: str) -> Field:
    """A size."""
    return Field(title, (key,), lambda row: size(row[key]), is_number=True)


def of_time(title: str, key: str) -> Field:
    """An instant."""
    return Field(title, (key,), lambda row: words.time(row[key]))


def of_age(title: str, key: str, now: datetime.datetime) -> Field:
    """How long ago it was."""
    return Field(title, (key,), lambda row: words.age(row[key], now), is_number=True)


def of_time_and_age(title: str, keys: tuple[str, ...], now: datetime.datetime) -> Field:
    """Both, of the first key."""
    return Field(title, keys, lambda row: words.time_and_age(row[keys[0]], now))


def _sum(title: str, key: str, counter: str) -> Field:
    return Field(title, (key, counter), lambda row: words.held(row, key, counter), is_number=True)

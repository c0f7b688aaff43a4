# SPDX-License-Identifier: Apache-2.0
"""What people read in place of numbers: sums, bounds, ages, and why something is not known.

Rows come with harmless texts (:func:`nova_diskaudit.osc.fields.visible`).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from nova_diskaudit.osc.fields import Row
from nova_diskaudit.text import between, duration, moment, size

_GIB = 2**30
_INFO = "info"
#: What the service's limits are about.
_LIMITS = {
    "class:DISK_GB": "promised",
    "disk_host_allocated_gib": "held",
    "disk_guest_used_gib": "guests say",
}
#: Whether something refuses what goes beyond.
_ENFORCED = {True: "enforced", False: "for information", None: "perhaps enforced"}

#: Why instances are not measured, by the service's codes, in a clause each. The codes are those of
#: findings, and some that only a sum over a project knows.
REASONS = {
    "not-reported": "Nova has it on a host from which no report tells of it",
    "not-on-a-host": "it is on no host now: shelved, or not yet started",
    "unverified": "it is reported from a host where Nova does not have it",
    "no-filesystem": "the guest answers, but none of its filesystems lies wholly on one disk",
    "not-told": "the report does not say why",
    "agent-absent": "it has no guest agent channel: its image lacks hw_qemu_guest_agent=yes",
    "agent-disconnected": "no guest agent runs in it: install and start qemu-guest-agent",
    "agent-error": "its guest agent answers with an error",
    "agent-frozen": "its filesystems are frozen for a backup or snapshot",
    "agent-refused": "its guest agent is set up not to answer this question",
    "agent-reply-invalid": "what its guest agent answers is not valid",
    "agent-timeout": "its guest agent does not answer in time",
    "agent-without-byte-counts": "its guest agent is too old to tell bytes",
    "audit-deadline": "its host did not get to it in time",
    "domain-gone": "it disappeared while its host was looking",
    "domain-unreadable": "its host cannot describe it",
    "external-data-unknown": "its image keeps the data elsewhere, which is known while it runs",
    "file-missing": "a file of its disks is not there",
    "filesystem-spans-disks": "a filesystem lies on several disks",
    "filesystem-unattributed": "a filesystem could not be traced to a disk",
    "guest-claim-exceeds-disk": "a filesystem claims more than its disk has",
    "guest-claim-implausible": "a filesystem claims what cannot be",
    "guest-not-asked": "its host is set up not to ask guests",
    "guest-not-permitted": "its host may not ask guests",
    "guest-not-running": "it is not running",
    "host-allocation-unknown": "the storage of its disks cannot tell what it holds",
    "inventory-stale": "libvirt on its host did not answer",
    "libvirt-busy": "libvirt on its host is busy",
    "no-connection": "libvirt on its host is away",
    "no-medium": "a drive is empty",
    "not-a-regular-file": "one of its disks is neither a file nor a block device",
    "permission-denied": "its host may not look at a file of its disks",
    "qemu-unresponsive": "its QEMU does not answer",
    "storage-error": "its storage answers with an error",
    "storage-unresponsive": "its storage does not answer",
}


_LACKS = {
    frozenset({"host", "guest"}): "both",
    frozenset({"host"}): "what is held",
    frozenset({"guest"}): "what the guest uses",
}


def many(number: int | None, noun: str) -> str:
    """Such as ``1 disk``, ``2 disks``."""
    if number is None:
        return f"an unknown number of {noun}s"
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def held(row: Row, key: str, counter: str) -> str:
    """A sum for a narrow column; ``>`` before it: there are disks whose number is not known."""
    more = ">" if row[key] is not None and row[counter] else ""
    return f"{more}{size(row[key])}"


def reclaimable(row: Row) -> str:
    """At least .. at most; ``?`` where there is no upper bound, for something held is unknown."""
    low, high = row["reclaimable_low_bytes"], row["reclaimable_high_bytes"]
    if low == 0 and high is None:
        return "0..?"
    return between(low, high)


def used(row: Row) -> str:
    """The bounds of what guests use."""
    return between(row["used_low_bytes"], row["used_high_bytes"])


def promised_in_full(row: Row) -> str:
    """What was promised, and on how many disks."""
    if row["virtual_bytes"] is None:
        return "-"
    return f"{size(row['virtual_bytes'])} on {many(row['disks'], 'local disk')}" + _unknown(
        row, "virtual_unknown"
    )


def held_in_full(row: Row) -> str:
    """What the storage holds, and its part of what was promised."""
    number, promised = row["host_allocated_bytes"], row["virtual_bytes"]
    if number is None:
        return "-"
    part = ""
    if promised and not row["virtual_unknown"] and not row["host_allocated_unknown"]:
        part = f" ({100 * number / promised:.0f} % of what is promised)"
    return f"{size(number)}{part}" + _unknown(row, "host_allocated_unknown")


def guests_say_in_full(row: Row, by_whom: str) -> str:
    """The guests' claim as a claim, and the bounds that hold for all disks."""
    lines = []
    if row["guest_used_bytes"] is not None:
        claim = f"{size(row['guest_used_bytes'])}, {by_whom}"
        lines.append(claim + _unknown(row, "guest_used_unknown"))
    bounds = used(row)
    if bounds != "-" and row["used_low_bytes"] != row["used_high_bytes"]:
        lines.append(f"{bounds} in use on all disks together")
    return "\n".join(lines) or "-"


def reclaimable_in_full(row: Row) -> str:
    """The bounds, and a guess between them that is called so."""
    low, high = row["reclaimable_low_bytes"], row["reclaimable_high_bytes"]
    likely = row["reclaimable_likely_bytes"]
    if low is None or (high is None and not low and not likely):
        return "-"
    bounds = reclaimable(row) if high is not None else f"at least {size(low)}"
    guess = f", likely {size(likely)}" if likely is not None and low != high else ""
    return f"{bounds}{guess}" + (_unknown(row, "host_allocated_unknown") if high is None else "")


def coverage(row: Row) -> str:
    """On how many instances the sums rest, and why the others are not in them."""
    instances = row["instances"]
    if instances is None:
        return "-"
    host, guest = row["host_measured"], row["guest_measured"]
    lines = [
        f"{many(instances, 'server')}; what is held is known of {host:,}, "
        f"what guests use of {guest:,}"
    ]
    if row["stale"]:
        lines.append(f"{many(row['stale'], 'server')} by an old report")
    lines += reasons(row["reasons"])
    return "\n".join(lines)


def reasons(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each; one for both numbers, where the same servers lack both."""
    lacking: dict[tuple[str, int], list[str]] = {}
    for one in entries:
        lacking.setdefault((one["code"], one["instances"]), []).append(one["lacks"])
    lines = []
    for (code, number), parts in lacking.items():
        words = REASONS.get(code)
        why = f"{words} ({code})" if words else code
        lines.append(f"{many(number, 'server')} without {_LACKS[frozenset(parts)]}: {why}")
    return lines


def not_measured(row: Row) -> str:
    """The same as a cell."""
    return "\n".join(reasons(row["reasons"])) or "-"


def limits(entries: Iterable[Mapping[str, Any]]) -> str:
    """Each limit with what counts against it, and in the service's words what that means."""
    return "\n".join(f"{_limit(one)}\n{one['meaning']}" for one in _in_order(entries)) or "-"


def limits_in_short(entries: Iterable[Mapping[str, Any]]) -> str:
    """The same without the words."""
    return "\n".join(map(_limit, _in_order(entries))) or "-"


def _in_order(entries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As the sums stand above them."""
    order = list(_LIMITS)
    return sorted(
        entries, key=lambda one: order.index(one["name"]) if one["name"] in order else len(order)
    )


def _limit(one: Mapping[str, Any]) -> str:
    name, used = one["name"], one["used_bytes"]
    called = f"{_LIMITS[name]} ({name})" if name in _LIMITS else name
    number = "an unknown amount" if used is None else size(used)
    if one["limit_gib"] is None:
        return f"{called}: {number}, no limit known"
    most = one["limit_gib"] * _GIB
    part = f" ({100 * used / most:.0f} %)" if used is not None and most else ""
    return f"{called}: {number} of {size(most)}{part}, {_ENFORCED[one['enforced']]}"


def age(time: str | None, now: datetime.datetime) -> str:
    """How long ago an instant of the service was; ``-`` when there is none."""
    at = instant(time)
    return "-" if at is None else duration((now - at).total_seconds())


def time_and_age(time: str | None, now: datetime.datetime) -> str:
    """Such as ``2026-01-02 03:04:05Z (3 min 20 s ago)``."""
    at = instant(time)
    return "-" if at is None else f"{moment(at)} ({age(time, now)} ago)"


def time(word: str | None) -> str:
    """An instant of the service, in UTC to the second."""
    return moment(instant(word))


def instant(word: str | None) -> datetime.datetime | None:
    """What the service calls a time; None for what is none.

    An hour or a day may be told without an offset: times are UTC.
    """
    if not word:
        return None
    try:
        at = datetime.datetime.fromisoformat(word)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=datetime.UTC)


def _unknown(row: Row, counter: str) -> str:
    missing = row[counter]
    return f" ({missing:,} of {many(row['disks'], 'disk')} unknown)" if missing else ""


def host_findings(row: Row) -> str:
    """Each finding in its own words."""
    lines = [f"{one['code']}: {one['message']}" for one in row["finding_details"]]
    return "\n".join(lines) or "-"


def server_findings(row: Row) -> str:
    """What deserves attention in its own words, once for all disks; the rest by code."""
    about: dict[tuple[str, str], list[str]] = {}
    for one in row["finding_details"]:
        key = (one["code"], "" if one["severity"] == _INFO else one["message"])
        about.setdefault(key, [])
        if one["disk"] is not None and one["disk"] not in about[key]:
            about[key].append(one["disk"])
    lines, minor = [], []
    for (code, message), disks in about.items():
        named = f"{code} ({', '.join(disks)})" if disks else code
        if message:
            lines.append(f"{named}: {message}")
        else:
            minor.append(named)
    return "\n".join([*lines, *minor]) or "-"


def serious(row: Row) -> str:
    """The codes of what deserves attention."""
    codes = {one["code"]: None for one in row["finding_details"] if one["severity"] != _INFO}
    return " ".join(codes) or "-"

# SPDX-License-Identifier: Apache-2.0
"""What follows when Nova, Placement and the agents disagree: rules over values, and nothing else.

Whatever is compared was seen at some time, and who saw it later may see more. So each rule says
when it may be asked at all: a host's report counts against Nova only if Nova was asked after it
came in, and against what Nova says of an instance only if it was made after Nova said so. Where
that is not so, or where a host, a cell or Placement does not answer, the answer is *unknown*: then
nothing appears and nothing disappears.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

# --- what is known ----------------------------------------------------------------------------


class World(NamedTuple):
    """What holds for everything that is judged. Times are moments."""

    #: what was received before is stale
    stale_before: int
    #: whether Nova is asked at all
    nova: bool
    #: the begin of the last pass in which all of Nova answered
    nova_at: int | None
    #: whether Placement is asked at all
    placement: bool
    #: the begin of the last pass in which all of Placement answered, if the last one was such
    placement_at: int | None


class Host(NamedTuple):
    """A host by its last report."""

    id: int
    name: str
    as_of: int
    received_at: int
    #: of findings about the host itself: the agent's and this service's
    codes: frozenset[str]


class Instance(NamedTuple):
    """Nova's word about an instance."""

    host: str | None
    other_host: str | None
    status: str
    task_state: str | None
    root_gb: int | None
    ephemeral_gb: int | None
    swap_mb: int | None
    seen_at: int
    moved_at: int
    is_deleted: bool


class Sighting(NamedTuple):
    """A host's word about an instance."""

    host: Host
    #: by the domain's own metadata
    project_id: str | None
    virtual_bytes: int
    virtual_unknown: int


class Claim(NamedTuple):
    """What one provider promised an instance."""

    provider_id: int
    provider: str
    disk_gb: int
    fetched_at: int


class Leftover(NamedTuple):
    """What a host found among its instances; ``suffix`` follows the UUID in its name."""

    uuid: str
    suffix: str
    name: str
    host_allocated_bytes: int | None


class Shape(NamedTuple):
    """What disks a domain has: sizes of the local ones, and whether it has volumes."""

    local_bytes: tuple[int, ...]
    has_volumes: bool


# --- what follows -----------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What was found of a subject: details by code. What is ``unknown`` stays as it is."""

    found: dict[str, str]
    unknown: frozenset[str] = frozenset()


class Difference(NamedTuple):
    """A claim that is not what the disks were made with; Nova's own rules may explain it."""

    claimed_gb: int
    promised_bytes: int
    providers: tuple[str, ...]


STALE = "stale"
WITHOUT_DOMAIN = "instance-without-domain"
NOT_IN_NOVA = "instance-not-in-nova"
ELSEWHERE = "instance-elsewhere"
TWO_HOSTS = "instance-on-two-hosts"
ORPHAN = "orphan-disk-file"
RESIZED = "resize-leftover"
MISMATCH = "claim-mismatch"
EXPLAINED = "claim-explained"

#: Findings that come from here, and are cleared from here.
CODES = frozenset(
    (
        STALE,
        WITHOUT_DOMAIN,
        NOT_IN_NOVA,
        ELSEWHERE,
        TWO_HOSTS,
        ORPHAN,
        RESIZED,
        MISMATCH,
        EXPLAINED,
    )
)
_PLACES = frozenset((NOT_IN_NOVA, ELSEWHERE, TWO_HOSTS))
_CLAIMS = frozenset((MISMATCH, EXPLAINED))
#: Of these, what lies among a host's instances.
FILES = frozenset((ORPHAN, RESIZED))

_GIB = 2**30
#: A clock that differs by more has a finding of its own.
_SKEW = 60_000_000

# Of an instance that libvirt has to know (nova/virt/libvirt/driver.py: its domains are persistent,
# and are undefined when an instance is deleted, offloaded or has moved away).
_HAS_DOMAIN = frozenset(
    (
        "ACTIVE",
        "PASSWORD",
        "PAUSED",
        "REBOOT",
        "RESCUE",
        "SHELVED",
        "SHUTOFF",
        "SOFT_DELETED",
        "SUSPENDED",
        "VERIFY_RESIZE",
    )
)
_MOVES = frozenset(("MIGRATING", "RESIZE", "REVERT_RESIZE", "VERIFY_RESIZE"))
# Of which the disks are those of the flavor: a rescued one has another beside them.
_HAS_ITS_DISKS = _HAS_DOMAIN - {"RESCUE"}

# --- hosts ------------------------------------------------------------------------------------


def is_fresh(host: Host, world: World) -> bool:
    """Whether its report is not old."""
    return host.received_at >= world.stale_before


def of_host(host: Host, world: World) -> Verdict:
    """Of the host, and of each instance that it has."""
    return Verdict({} if is_fresh(host, world) else {STALE: ""})


def _sees(host: Host, world: World) -> bool:
    """Whether its report tells which domains there are, and Nova was asked after it came in."""
    return (
        is_fresh(host, world)
        and host.codes.isdisjoint(("inventory-stale", "clock-skew"))
        and world.nova_at is not None
        and host.received_at <= world.nova_at
    )


def _saw_after(host: Host, at: int) -> bool:
    """Whether what its report tells was seen after ``at``, though its clock be ahead."""
    return host.as_of - _SKEW > at


# --- where an instance is -----------------------------------------------------------------------


def is_open(instance: Instance) -> bool:
    """Whether something is being done to it that may move it or its disks."""
    return (
        instance.other_host is not None
        or instance.task_state is not None
        or instance.status in _MOVES
    )


def of_missing(
    host: Host, instance: Instance, world: World, sighted_on: Collection[str]
) -> Verdict:
    """Of an instance that is alive in Nova on ``host``, which does not tell of it.

    :param sighted_on: other hosts that do.
    """
    if not world.nova or instance.status not in _HAS_DOMAIN or is_open(instance):
        return Verdict({})
    if not _sees(host, world) or not _saw_after(host, instance.seen_at):
        return Verdict({}, frozenset({WITHOUT_DOMAIN}))
    where = f"; a domain of it is on {', '.join(sorted(sighted_on))}" if sighted_on else ""
    return Verdict({WITHOUT_DOMAIN: f"it is {instance.status}{where}"})


_HOME, _WRONG, _UNKNOWN = "home", "wrong", "unknown"


def _place(sighting: Sighting, instance: Instance, world: World) -> str:
    """Whether a sighting is where Nova has the instance, or may have it."""
    host = sighting.host
    if not is_fresh(host, world) or "inventory-stale" in host.codes:
        return _UNKNOWN
    if host.name in (instance.host, instance.other_host):
        return _HOME
    if is_open(instance) or not _sees(sighting.host, world):
        return _UNKNOWN
    return _WRONG if _saw_after(host, instance.moved_at) else _UNKNOWN


def of_place(
    sighting: Sighting, others: Sequence[Sighting], instance: Instance | None, world: World
) -> Verdict:
    """Of a sighting: whether Nova has the instance, and there.

    :param others: all other sightings of the same instance.
    """
    if not world.nova:
        return Verdict({})
    if instance is None or instance.is_deleted:
        return _of_unknown(sighting, instance, world)
    here = _place(sighting, instance, world)
    there = [_place(one, instance, world) for one in others]
    if here == _UNKNOWN:
        return Verdict({}, _PLACES)
    wrong = [one.host.name for one, place in zip(others, there, strict=True) if place == _WRONG]
    if here == _HOME:
        if wrong:
            return Verdict({TWO_HOSTS: f"also on {', '.join(sorted(wrong))}"})
        return Verdict({}, frozenset({TWO_HOSTS}) if _UNKNOWN in there else frozenset())
    named = instance.host or "no host"
    known = [one.host.name for one, place in zip(others, there, strict=True) if place != _UNKNOWN]
    if known:
        return Verdict({TWO_HOSTS: f"Nova has it on {named}; also on {', '.join(sorted(known))}"})
    if _UNKNOWN in there:
        return Verdict({}, _PLACES - {NOT_IN_NOVA})
    return Verdict({ELSEWHERE: f"Nova has it on {named}"})


def _of_unknown(sighting: Sighting, instance: Instance | None, world: World) -> Verdict:
    if sighting.project_id is None:
        # A domain that says nothing of Nova is not Nova's, and no surprise.
        return Verdict({})
    unknown = Verdict({}, frozenset({NOT_IN_NOVA}))
    if not _sees(sighting.host, world):
        return unknown
    if instance is None:
        return Verdict({NOT_IN_NOVA: "Nova does not know it"})
    if not _saw_after(sighting.host, instance.moved_at):
        return unknown
    return Verdict({NOT_IN_NOVA: "Nova deleted it"})


# --- what was promised --------------------------------------------------------------------------


def of_claim(
    sighting: Sighting, instance: Instance | None, claims: Sequence[Claim], world: World
) -> tuple[Verdict | Difference, frozenset[int]]:
    """Of the sighting that is believed: whether Placement was promised what the disks have.

    The second part names providers that have to be asked again first.
    """
    nothing: frozenset[int] = frozenset()
    if not world.nova or not world.placement or instance is None or instance.is_deleted:
        return Verdict({}), nothing
    if sighting.host.name != instance.host:
        # Where it is not at home its disks need not be those that were promised.
        return Verdict({}), nothing
    unknown = Verdict({}, _CLAIMS)
    if (
        instance.task_state is not None
        or instance.status not in _HAS_ITS_DISKS
        or sighting.virtual_unknown
        or not _sees(sighting.host, world)
        or not _saw_after(sighting.host, instance.seen_at)
        or world.placement_at is None
        or world.nova_at is None
        or not instance.seen_at <= world.placement_at <= world.nova_at
    ):
        return unknown, nothing
    claimed = sum(claim.disk_gb for claim in claims)
    if claimed == _gib(sighting.virtual_bytes) and len(claims) <= 1:
        return Verdict({}), nothing
    if any(one.fetched_at > world.nova_at for one in claims):
        return unknown, nothing
    old = frozenset(one.provider_id for one in claims if one.fetched_at < instance.seen_at)
    if old:
        # Nova may have ended the promise since, and that leaves no trace in a generation.
        return unknown, old
    names = tuple(sorted(claim.provider for claim in claims))
    return Difference(claimed, sighting.virtual_bytes, names), nothing


def of_difference(difference: Difference, instance: Instance, shape: Shape) -> Verdict:
    """Whether one of Nova's rules explains it (nova/scheduler/utils.py: resources_from_flavor)."""
    claimed, promised = difference.claimed_gb, _gib(difference.promised_bytes)
    words = f"{claimed} GiB claimed, {promised} GiB made"
    if is_open(instance):
        return Verdict({EXPLAINED: f"{words}: a resize or migration is open"})
    if len(difference.providers) > 1:
        return Verdict({MISMATCH: f"{words}: claimed of {', '.join(difference.providers)}"})
    rule = _rule(claimed, promised, instance, shape)
    if rule is not None:
        return Verdict({EXPLAINED: f"{words}: {rule}"})
    return Verdict({MISMATCH: words if claimed else f"{words}: nothing is claimed"})


def _rule(claimed: int, promised: int, instance: Instance, shape: Shape) -> str | None:
    if instance.root_gb is None:
        return None
    beside = (instance.ephemeral_gb or 0) + -(-(instance.swap_mb or 0) // 1024)
    whole = instance.root_gb + beside
    if shape.has_volumes and claimed == whole and promised == beside:
        return f"the root disk is a volume, and its {instance.root_gb} GiB are claimed all the same"
    if instance.root_gb == 0 and claimed == beside and not shape.has_volumes:
        return "the flavor has no root size: the image made the disk, and nobody claims it"
    largest = max(shape.local_bytes, default=0)
    if claimed == whole and promised < claimed and largest >= instance.root_gb * _GIB:
        return "the server was made with less swap or ephemeral disk than its flavor allows"
    if claimed == beside and promised < claimed and shape.has_volumes:
        return "the server was made with less swap or ephemeral disk than its flavor allows"
    return None


def _gib(number: int) -> int:
    """Whole GiB, rounded up: as Nova rounds the sum, of which swap alone is in MiB."""
    return -(-number // _GIB)


# --- files --------------------------------------------------------------------------------------

_NAME = re.compile(r"(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?P<suffix>.*)", re.S)
_OWN_SUFFIXES = ("", "_del", "_resize")
#: Nova's [libvirt] snapshots_directory, by default
_SNAPSHOTS = "snapshots"


def leftover(name: str, host_allocated_bytes: int | None) -> Leftover:
    """What a name among the instances says; one that is not Nova's has no UUID."""
    match = _NAME.fullmatch(name)
    if match is None or match["suffix"] not in _OWN_SUFFIXES:
        return Leftover("", "", name, host_allocated_bytes)
    return Leftover(match["uuid"], match["suffix"], name, host_allocated_bytes)


def of_strangers(host: Host, leftovers: Iterable[Leftover], world: World) -> Verdict:
    """Of names among a host's instances that Nova does not give. Nova need not be asked."""
    if not is_fresh(host, world):
        return Verdict({}, frozenset({ORPHAN}))
    # What holds nothing harms nobody: Nova makes such a file when it looks who shares a directory.
    # And while Nova makes a snapshot, it is in a directory of its own.
    found = [one for one in leftovers if one.host_allocated_bytes != 0 and one.name != _SNAPSHOTS]
    return Verdict({ORPHAN: _words(found)} if found else {})


def of_files(
    host: Host,
    leftovers: Sequence[Leftover],
    instance: Instance | None,
    world: World,
    *,
    sharing: Collection[str],
    sighted_on: Collection[str],
    is_host_known: bool,
) -> Verdict:
    """Of what lies among a host's instances under the UUID of one instance.

    :param sharing: names of the hosts that have this storage, the host itself included.
    :param sighted_on: names of the hosts that have a domain of this instance.
    :param is_host_known: whether the host that Nova names reports, so that it is known what storage
        it has.
    """
    if not world.nova:
        return Verdict({})
    if not _sees(host, world):
        return Verdict({}, FILES)
    resized = [one for one in leftovers if one.suffix == "_resize"]
    plain = [one for one in leftovers if one.suffix != "_resize"]
    if instance is not None and not instance.is_deleted:
        if is_open(instance) or instance.status == "BUILD":
            return Verdict({})
        if not _saw_after(host, instance.seen_at):
            return Verdict({}, FILES)
        found = {RESIZED: _words(resized)} if resized else {}
        if instance.host is None:
            if plain and instance.status == "SHELVED_OFFLOADED":
                found[ORPHAN] = f"{_words(plain)}: the instance is shelved elsewhere"
        elif plain and instance.host != host.name and instance.host not in sharing:
            if not is_host_known:
                return Verdict(found, frozenset({ORPHAN}))
            found[ORPHAN] = f"{_words(plain)}: the instance is on {instance.host}"
        return Verdict(found)
    if instance is not None and not _saw_after(host, instance.moved_at):
        return Verdict({}, FILES)
    if any(name in sharing for name in sighted_on):
        return Verdict({})
    why = "Nova deleted it" if instance is not None else "Nova does not know it"
    return Verdict({ORPHAN: f"{_words(leftovers)}: {why}"} if leftovers else {})


_NAMES_TOLD = 5


def _words(leftovers: Sequence[Leftover]) -> str:
    known = [one.host_allocated_bytes for one in leftovers if one.host_allocated_bytes is not None]
    names = ", ".join(one.name for one in leftovers[:_NAMES_TOLD])
    more = f" and {len(leftovers) - _NAMES_TOLD} more" if len(leftovers) > _NAMES_TOLD else ""
    some = "" if len(known) == len(leftovers) else "at least "
    return f"{names}{more}: {some}{sum(known)} bytes"


def merged(verdicts: Iterable[Verdict]) -> Verdict:
    """Of one subject, by all rules."""
    found: dict[str, str] = {}
    unknown: set[str] = set()
    for one in verdicts:
        found |= one.found
        unknown |= one.unknown
    return Verdict(found, frozenset(unknown) - found.keys())

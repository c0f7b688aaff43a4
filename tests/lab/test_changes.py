# SPDX-License-Identifier: Apache-2.0
"""Disks that change: what the audit promises before an fstrim, and what it frees."""

import dataclasses

import pytest

from tests.lab import changes
from tests.lab.conftest import Observe
from tests.lab.domain import MIB
from tests.lab.observe import Observation
from tests.lab.play import Play


@dataclasses.dataclass(frozen=True)
class Case:
    """A disk at a moment of its play."""

    name: str
    table: str
    play: Play
    label: str
    target: str
    #: where its one file system is mounted
    mountpoint: str
    findings: frozenset[str] = frozenset()
    #: whether the guest can be asked
    answers: bool = True


_TRIMMED = [
    Case(f"trim-{t.name}-{label}", "round trip", changes.TRIM, label, t.disk.target, t.mountpoint)
    for t in changes.TRIMS
    for label in ("written", "deleted", "trimmed")
]

_EQUAL = frozenset({"triple-equal", "preallocated"})
_OVERLAY = frozenset({"shared-backing"})
_STOPPED = frozenset({"guest-not-running"})

_LIFE = [
    Case(f"life-{label}-{target}", table, changes.LIFE, label, target, f"/mnt/{target[-1]}", *rest)
    for label, table, targets, *rest in (
        ("settled", "running", ("vda", "vdb")),
        ("plugged", "hot-plug", ("vda", "vdb", "vdc")),
        ("snapshotted", "external snapshot while running", ("vda", "vdb"), _OVERLAY),
        ("committing", "1.6 active commit, ready", ("vda", "vdb"), _OVERLAY),
        ("committed", "block commit while running", ("vda", "vdb")),
        ("paused", "paused", ("vda", "vdb"), frozenset(), False),
        ("off", "1.4 shut off", ("vda", "vdb"), frozenset(), False),
    )
    for target in targets
]

_SEED = [
    Case("seed-reserved", "1.5 C", changes.SEED, "seed", "vda", "/mnt/a", _EQUAL),
    Case("seed-sparse", "1.5 B", changes.SEED, "seed", "vdb", "/mnt/b"),
]

CASES = _SEED + _TRIMMED + _LIFE

everywhere = pytest.mark.parametrize("scenario", CASES, ids=lambda c: c.name)
trims = pytest.mark.parametrize(
    "scenario", [case for case in _TRIMMED if case.label == "deleted"], ids=lambda c: c.name
)
explained = pytest.mark.parametrize("scenario", _SEED + _LIFE, ids=lambda c: c.name)


def truth(observe: Observe, case: Case, seen: Observation) -> int:
    """What the file system uses; a stopped guest uses what it used when it stopped."""
    if not case.answers:
        seen = observe(case.play, "committed")
    return seen.truth[case.mountpoint].used_bytes


@everywhere
def test_host_bytes_are_those_of_du(observe: Observe, stack: str, scenario: Case) -> None:
    seen = observe(scenario.play, scenario.label)
    disk, facts = seen.audited(scenario.target), seen.disks[scenario.target]
    assert seen.audit.status == 0
    assert disk["host_allocated_bytes"] == facts.allocated
    assert disk["container_bytes"] == facts.length
    assert disk["virtual_bytes"] == facts.stats["capacity"]


@everywhere
def test_the_truth_lies_in_the_bounds(observe: Observe, stack: str, scenario: Case) -> None:
    seen = observe(scenario.play, scenario.label)
    disk = seen.audited(scenario.target)
    used = truth(observe, scenario, seen)
    assert disk["used"]["low"] <= used <= disk["used"]["high"]
    assert disk["guest_used_bytes"] == (used if scenario.answers else None)
    if disk["used"]["bytes"] is not None:
        assert disk["used"]["bytes"] == used


@everywhere
def test_the_reasons_are_given(observe: Observe, stack: str, scenario: Case) -> None:
    seen = observe(scenario.play, scenario.label)
    assert scenario.findings <= seen.codes(scenario.target)
    if not scenario.answers:
        assert seen.codes() & _STOPPED


@explained
def test_explain_predicts_domblkinfo(observe: Observe, stack: str, scenario: Case) -> None:
    seen = observe(scenario.play, scenario.label)
    facts = seen.disks[scenario.target].blkinfo
    assert facts is not None
    story = seen.explained(scenario.target)["domblkinfo"]
    if scenario.label == "off":
        assert story["measured"] is None
        return
    assert story["measured"] == dataclasses.asdict(facts)
    assert story["predicted"] == story["measured"]


@trims
def test_what_fstrim_frees_was_promised(observe: Observe, stack: str, scenario: Case) -> None:
    before = observe(scenario.play, "deleted")
    after = observe(scenario.play, "trimmed")
    promised = before.audited(scenario.target)["reclaimable"]
    held = before.disks[scenario.target].allocated
    left = after.disks[scenario.target].allocated
    assert held is not None
    assert left is not None
    freed = held - left
    assert promised["low"] <= freed <= promised["high"]
    disk = next(t for t in changes.TRIMS if t.disk.target == scenario.target)
    if not disk.disk.discard:
        assert freed == 0
        assert promised["how"] == "enable-discard"
    elif not disk.scattered:
        assert freed >= disk.big * MIB * 9 // 10
        assert promised["how"] == "trim"


@trims
def test_what_can_be_reclaimed_is_said(observe: Observe, stack: str, scenario: Case) -> None:
    trim = next(t for t in changes.TRIMS if t.disk.target == scenario.target)
    before, after = (
        observe(scenario.play, label).codes(scenario.target) for label in ("deleted", "trimmed")
    )
    if trim.covered:
        assert "untrimmed" in before
        assert ("discard-disabled" in before) != trim.disk.discard
        assert ("untrimmed" in after) != trim.disk.discard
    elif trim.disk.discard:
        assert "discard-disabled" not in before | after


def test_the_seeds_numbers(observe: Observe, stack: str) -> None:
    """All the numbers of libvirt say 2 GiB, and the file system is 2 % full."""
    seen = observe(changes.SEED, "seed")
    numbers = seen.disks["vda"].blkinfo
    assert numbers is not None
    # ext4 on the host keeps a block of its own for a file of this length.
    assert numbers.capacity <= numbers.allocation <= numbers.capacity + 4096
    assert numbers.capacity <= numbers.physical <= numbers.capacity + 4096
    found = seen.truth["/mnt/a"]
    assert found.used_bytes < 0.025 * found.total_bytes
    sparse = seen.disks["vdb"].blkinfo
    assert sparse is not None
    full = sparse.allocation if stack == "host" else sparse.physical
    assert full == sparse.capacity


def test_the_snapshot_keeps_what_was_written_before(observe: Observe, stack: str) -> None:
    before = observe(changes.LIFE, "plugged")
    after = observe(changes.LIFE, "snapshotted")
    for target in ("vda", "vdb"):
        assert after.audited(target)["backing_bytes"] == before.disks[target].allocated
    assert after.audited("vdc")["backing_bytes"] in (0, None)


def test_the_serial_of_a_plugged_disk_is_seen(observe: Observe, stack: str) -> None:
    plugged = observe(changes.LIFE, "plugged").audited("vdc")
    assert plugged["kind"] == "volume"
    assert plugged["serial"] == changes.guests.UUID_3

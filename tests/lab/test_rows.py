# SPDX-License-Identifier: Apache-2.0
"""The tables of libvirt's block numbers, row by row, on real QEMU processes without an OS."""

import dataclasses

import libvirt
import pytest

from tests.lab import rows
from tests.lab.conftest import Observe
from tests.lab.domain import Domain
from tests.lab.machine import Machine, Numbers
from tests.lab.observe import DiskFacts, take
from tests.lab.play import Observations, Play


def perform_running(machine: Machine) -> Observations:
    for row in rows.RUNNING:
        for command in row.io:
            machine.io(row.disk.target, command)
    explained = tuple(row.disk.target for row in rows.RUNNING)
    written = take(machine, "written", explain=explained)
    machine.domain.destroy()
    machine.boot()
    return {"written": written, "restarted": take(machine, "restarted", explain=("vdb", "vdo"))}


def perform_once(machine: Machine) -> Observations:
    explained = tuple(disk.target for disk in machine.spec.disks)
    return {"once": take(machine, "once", explain=explained)}


RUNNING = Play(
    Domain("rows", tuple(row.disk for row in rows.RUNNING), agent_channel=False), perform_running
)
OFF = Play(
    Domain("rows-off", tuple(row.disk for row in rows.OFF), agent_channel=False, started=False),
    perform_once,
)


def perform_special(machine: Machine) -> Observations:
    for row in rows.SPECIAL:
        for command in row.io:
            machine.io(row.disk.target, command)
    return perform_once(machine)


SPECIAL = Play(
    Domain("rows-special", tuple(row.disk for row in rows.SPECIAL), agent_channel=False),
    perform_special,
)
VHOST_USER = Play(
    Domain(
        "rows-vhost-user",
        tuple(row.disk for row in rows.VHOST_USER),
        agent_channel=False,
        shared_memory=True,
    ),
    perform_once,
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A row in one state of its domain."""

    row: rows.Row
    play: Play
    label: str

    @property
    def name(self) -> str:
        return self.row.name


CASES = [
    *(Case(row, RUNNING, "written") for row in rows.RUNNING),
    *(Case(row, RUNNING, "restarted") for row in rows.RESTARTED),
    *(Case(row, OFF, "once") for row in rows.OFF),
    *(Case(row, SPECIAL, "once") for row in rows.SPECIAL),
    *(Case(row, VHOST_USER, "once") for row in rows.VHOST_USER),
]

everywhere = pytest.mark.parametrize("scenario", CASES, ids=lambda case: case.name)


def meant(symbol: str, facts: DiskFacts, size: int) -> int:
    """The number that a symbol of the table stands for."""
    value = {
        rows.VSIZE: size,
        rows.DU: facts.allocated,
        rows.LS: facts.length,
        rows.HWM: facts.stats.get("allocation"),
        rows.SUM: facts.stats.get("physical"),
        rows.ZERO: 0,
    }[symbol]
    assert value is not None, f"{symbol} is unknown"
    return value


@everywhere
def test_libvirt_prints_what_the_table_says(observe: Observe, stack: str, scenario: Case) -> None:
    facts = observe(scenario.play, scenario.label).disks[scenario.row.disk.target]
    pair = scenario.row.pair(stack)
    if isinstance(pair, int):
        assert facts.blkinfo is None
        assert facts.blkinfo_error == pair
        return
    size = scenario.row.disk.size
    expected = Numbers(size, *(meant(symbol, facts, size) for symbol in pair))
    assert facts.blkinfo == expected
    if rows.HWM in pair:
        assert facts.stats["allocation"] > 0


@everywhere
def test_the_audit_tells_the_truth(observe: Observe, stack: str, scenario: Case) -> None:
    seen = observe(scenario.play, scenario.label)
    row, facts = scenario.row, seen.disks[scenario.row.disk.target]
    disk = seen.audited(row.disk.target)
    assert seen.audit.status == 0
    assert disk["virtual_bytes"] == row.virtual
    if row.disk.storage == "volume" and disk["host_allocated_bytes"] is None:
        # Only libvirt knows where a pool keeps its volume.
        assert "host-allocation-unknown" in seen.codes(row.disk.target)
    else:
        assert disk["host_allocated_bytes"] == row.held(facts)
        assert disk["container_bytes"] == facts.length
    assert row.codes(stack) <= seen.codes(row.disk.target)
    assert not row.never(stack) & seen.codes(row.disk.target)
    # A reason is given exactly where a number is missing.
    codes = seen.codes(row.disk.target)
    if row.disk.storage != "empty":
        assert (disk["virtual_bytes"] is None) == ("virtual-size-unknown" in codes)
        assert (disk["host_allocated_bytes"] is None) == ("host-allocation-unknown" in codes)
    assert disk["format"] == (row.disk.format if row.disk.storage != "empty" else disk["format"])
    # No guest runs here, so nothing is known of what is used.
    assert disk["guest_used_bytes"] is None
    assert disk["used"]["bytes"] is None


@everywhere
def test_explain_predicts_domblkinfo(observe: Observe, stack: str, scenario: Case) -> None:
    seen = observe(scenario.play, scenario.label)
    facts = seen.disks[scenario.row.disk.target]
    story = seen.explained(scenario.row.disk.target)["domblkinfo"]
    if scenario.play is OFF:
        # Not asked: on hung storage the answer would freeze libvirtd.
        assert story["measured"] is None
    elif facts.blkinfo is None:
        assert story["measured"] is None
        assert story["predicted"] is None
    else:
        assert story["measured"] == dataclasses.asdict(facts.blkinfo)
        assert story["predicted"] == story["measured"]


def test_the_two_overlays_share_their_base(observe: Observe, stack: str) -> None:
    seen = observe(RUNNING, "written")
    both = [seen.audited(target) for target in ("vdx", "vdy")]
    assert [disk["backing_bytes"] for disk in both] == [8 << 20, 8 << 20]


def test_the_errors_of_the_table_are_libvirts() -> None:
    assert rows.INVALID_ARG == libvirt.VIR_ERR_INVALID_ARG
    assert rows.UNSUPPORTED == libvirt.VIR_ERR_OPERATION_UNSUPPORTED

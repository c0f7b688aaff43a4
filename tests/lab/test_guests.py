# SPDX-License-Identifier: Apache-2.0
"""Real guests with the real agent: what the audit says of their disks, and what is true."""

import dataclasses

import pytest

from tests.lab import guests
from tests.lab.conftest import Observe
from tests.lab.observe import Observation

everywhere = pytest.mark.parametrize("scenario", guests.SCENARIOS, ids=lambda s: s.name)
NEWER = [s for s in guests.SCENARIOS if s.play.domain.agent_release == "trixie"]


def used(seen: Observation, points: tuple[str, ...]) -> int:
    return sum(seen.truth[point].used_bytes for point in points)


@everywhere
def test_host_bytes_are_those_of_du(
    observe: Observe, stack: str, scenario: guests.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    assert seen.audit.status == 0
    for disk in scenario.disks:
        audited = seen.audited(disk.target)
        assert audited["host_allocated_bytes"] == seen.disks[disk.target].allocated
        assert audited["virtual_bytes"] == seen.disks[disk.target].stats["capacity"]
        assert audited["container_bytes"] == seen.disks[disk.target].length
        assert audited["kind"] == disk.kind


@everywhere
def test_the_truth_lies_in_the_bounds(
    observe: Observe, stack: str, scenario: guests.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    low = high = 0
    for disk in scenario.disks:
        bounds = seen.audited(disk.target)["used"]
        # What is spread over disks lies on each of them with some part of it.
        least, most = used(seen, disk.whole), used(seen, disk.whole + disk.spread)
        if disk.shared:
            least = max(used(seen, (point,)) for point in disk.whole)
        assert bounds["low"] <= most
        assert bounds["high"] >= least
        if not disk.spread and not disk.shared:
            assert bounds["low"] <= least <= bounds["high"]
        if bounds["bytes"] is not None:
            assert least <= bounds["bytes"] <= most
        low += bounds["low"]
        high += bounds["high"]
    everything = {point for disk in scenario.disks for point in (*disk.whole, *disk.spread)}
    assert low <= used(seen, tuple(everything)) <= high or not everything


@everywhere
def test_what_the_guest_says_is_its_statfs(
    observe: Observe, stack: str, scenario: guests.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    for disk in scenario.disks:
        audited = seen.audited(disk.target)
        if disk.exact:
            assert audited["guest_used_bytes"] == used(seen, disk.whole)
            if disk.covered:
                assert audited["used"]["bytes"] == used(seen, disk.whole)
        elif not disk.whole:
            assert audited["guest_used_bytes"] is None
            assert audited["used"]["bytes"] is None
        elif audited["guest_used_bytes"] is not None:
            assert audited["guest_used_bytes"] <= used(seen, disk.whole)


@everywhere
def test_the_reasons_are_given(observe: Observe, stack: str, scenario: guests.Scenario) -> None:
    seen = observe(scenario.play, scenario.label)
    assert scenario.findings <= seen.codes()
    for disk in scenario.disks:
        assert disk.findings <= seen.codes(disk.target)
        assert not {"guest-claim-implausible", "agent-absent"} & seen.codes(disk.target)


@everywhere
def test_explain_predicts_domblkinfo(
    observe: Observe, stack: str, scenario: guests.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    for disk in scenario.disks:
        if disk.target in seen.explain:
            story = seen.explained(disk.target)["domblkinfo"]
            facts = seen.disks[disk.target].blkinfo
            assert facts is not None
            assert story["measured"] == dataclasses.asdict(facts)
            assert story["predicted"] == story["measured"]


@everywhere
def test_nothing_that_is_in_use_can_be_reclaimed(
    observe: Observe, stack: str, scenario: guests.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    for disk in scenario.disks:
        audited = seen.audited(disk.target)
        bounds, held = audited["reclaimable"], audited["host_allocated_bytes"]
        assert 0 <= bounds["low"] <= bounds["high"] <= held


@pytest.mark.parametrize("scenario", NEWER, ids=lambda s: s.name)
def test_a_newer_agent_tells_the_size_with_what_is_reserved_for_root(
    observe: Observe, stack: str, scenario: guests.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    assert seen.instance["guest"]["agent_version"].startswith("10.")
    said = {fs["mountpoint"]: fs for fs in seen.replies["guest-get-fsinfo"]}
    audited = {fs["mountpoint"]: fs for fs in seen.instance["filesystems"]}
    for disk in scenario.disks:
        for point in disk.whole:
            truth = seen.truth[point]
            assert said[point]["total-bytes"] <= said[point]["total-bytes-privileged"]
            assert said[point]["total-bytes-privileged"] == truth.total_bytes
            assert audited[point]["total_bytes"] == truth.total_bytes
            assert audited[point]["used_bytes"] == truth.used_bytes


@pytest.mark.parametrize("scenario", NEWER, ids=lambda s: s.name)
def test_a_newer_agent_lists_what_is_mounted_twice_once(
    observe: Observe, stack: str, scenario: guests.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    listed = [fs["mountpoint"] for fs in seen.replies["guest-get-fsinfo"]]
    alike = [s for s in NEWER if s.play is scenario.play]
    assert sorted(listed) == sorted(p for s in alike for disk in s.disks for p in disk.whole)
    # What it leaves out: tmpfs, the bind mount, and the subvolume.
    assert set(listed) < set(seen.truth)


@pytest.mark.parametrize(
    "scenario",
    [s for s in NEWER if s.name in ("newer-agent-whole-disk", "newer-agent-btrfs")],
    ids=lambda s: s.name,
)
def test_what_is_reserved_for_root_decides_that_the_disk_is_covered(
    observe: Observe, stack: str, scenario: guests.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    said = {fs["mountpoint"]: fs for fs in seen.replies["guest-get-fsinfo"]}
    (disk,) = scenario.disks
    (point,) = disk.whole
    enough = 0.9 * seen.audited(disk.target)["virtual_bytes"]
    assert said[point]["total-bytes"] < enough <= said[point]["total-bytes-privileged"]
    assert seen.audited(disk.target)["used"]["bytes"] == used(seen, disk.whole)

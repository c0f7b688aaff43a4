# SPDX-License-Identifier: Apache-2.0
"""Agents that are absent, silent, old or hostile: the audit goes on, and says so."""

import unicodedata
from typing import Any

import pytest

from tests.lab import agents
from tests.lab.conftest import Observe
from tests.lab.observe import Observation

everywhere = pytest.mark.parametrize("scenario", agents.SCENARIOS, ids=lambda s: s.name)

HONEST = [s for s in agents.SCENARIOS if s.play is not agents.LIARS]
MOUNTS = {"vda": "/mnt/a", "vdb": "/mnt/b"}

#: more than a reply that the tool has to read, less than one that it has to refuse many times
PEAK = 200 << 20


def strings(value: Any) -> list[str]:
    """Every string of a JSON document."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return []


def harmful(text: str, allowed: str = "") -> set[str]:
    """Characters that steer a terminal or turn the direction of writing."""
    kinds = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    return {c for c in text if unicodedata.category(c) in kinds} - set(allowed)


@everywhere
def test_the_host_part_is_complete(observe: Observe, stack: str, scenario: agents.Scenario) -> None:
    seen = observe(scenario.play, scenario.label)
    # What a guest does is never an error of the host.
    assert seen.audit.status == 0
    for target, facts in seen.disks.items():
        disk = seen.audited(target)
        assert disk["virtual_bytes"] == facts.stats["capacity"]
        assert disk["host_allocated_bytes"] == facts.allocated


@everywhere
def test_it_takes_neither_long_nor_much(
    observe: Observe, stack: str, scenario: agents.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    assert seen.seconds < scenario.seconds
    assert seen.audit.peak_bytes < PEAK


def all_codes(seen: Observation) -> set[str]:
    return seen.codes() | seen.codes("vda") | seen.codes("vdb")


@everywhere
def test_the_reason_is_given(observe: Observe, stack: str, scenario: agents.Scenario) -> None:
    seen = observe(scenario.play, scenario.label)
    assert scenario.findings <= all_codes(seen)
    if {scenario.claimed, scenario.claimed_of_other} == {None} and not scenario.findings:
        # Whatever the reason is called, a number does not vanish without one.
        assert any(code.startswith(("agent-", "guest-", "filesystem-")) for code in all_codes(seen))


@everywhere
def test_only_what_can_be_believed_is_summed(
    observe: Observe, stack: str, scenario: agents.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    claims = {"vda": scenario.claimed, "vdb": scenario.claimed_of_other}
    if scenario.claimed == agents.LIKE_STATFS:
        claims = {target: seen.truth[point].used_bytes for target, point in MOUNTS.items()}
    for target, claimed in claims.items():
        disk = seen.audited(target)
        used, reclaimable = disk["used"], disk["reclaimable"]
        assert disk["guest_used_bytes"] == claimed
        assert 0 <= used["low"] <= used["high"] <= disk["virtual_bytes"]
        assert 0 <= reclaimable["low"] <= reclaimable["high"] <= disk["host_allocated_bytes"]
        if claimed is None:
            assert used["bytes"] is None
            assert reclaimable["low"] == 0


def test_nobody_speaks_of_the_disks_of_others(observe: Observe, stack: str) -> None:
    seen = observe(agents.LIARS, "serial-of-another-instance")
    both = {entry["uuid"]: entry for entry in seen.extra["both"].json["instances"]}
    (disk,) = both[agents.VICTIM.uuid]["disks"]
    assert disk["serial"] == agents.VICTIM_SERIAL
    assert disk["guest_used_bytes"] is None
    assert disk["used"]["low"] == 0
    assert both[agents.VICTIM.uuid]["filesystems"] == []


@pytest.mark.parametrize("scenario", HONEST, ids=lambda s: s.name)
def test_the_truth_lies_in_the_bounds(
    observe: Observe, stack: str, scenario: agents.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    # A frozen guest cannot be asked: it changes nothing either, so what was true before holds.
    truth = seen.truth or observe(scenario.play, "well-again").truth
    for target, point in MOUNTS.items():
        used = seen.audited(target)["used"]
        assert used["low"] <= truth[point].used_bytes <= used["high"]


@everywhere
def test_no_string_of_a_guest_steers_a_terminal(
    observe: Observe, stack: str, scenario: agents.Scenario
) -> None:
    seen = observe(scenario.play, scenario.label)
    for text in strings(seen.audit.json):
        assert not harmful(text)
        assert len(text) <= 4096
    for answer in (*seen.extra.values(), seen.audit):
        assert not harmful(answer.output, allowed="\n")
        assert not harmful(answer.errors, allowed="\n")

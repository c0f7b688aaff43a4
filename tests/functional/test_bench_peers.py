# SPDX-License-Identifier: Apache-2.0
"""The benchmark against the peers in small, so that it never rots; times are not looked at."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from tests.bench.peers import table
from tests.bench.peers.host import host
from tests.bench.peers.result import Options, about
from tests.bench.peers.virt_df import VirtDf
from tests.lab.hypervisor import Hypervisor

_DOMAINS = 8
_GUESTS = 1


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    with Hypervisor("host") as hypervisor, host(hypervisor, _DOMAINS, _GUESTS) as some:
        # An emulated appliance takes longer than all others together.
        return table.measure_host(some, table.entries(some), 1, print, skip={VirtDf.name})


def rows(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result["peers"] if row["name"] != VirtDf.name}


def fields(result: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return {field["field"]: field for field in rows(result)[name]["fields"]}


def test_all_peers_have_looked(result: dict[str, Any]) -> None:
    assert {name: row["missing"] for name, row in rows(result).items() if row["missing"]} == {}
    troubles = {
        name: [look["trouble"] for look in row["looks"]] for name, row in rows(result).items()
    }
    assert troubles == {name: [""] for name in troubles}
    silent = {name for name, row in rows(result).items() if not row["libvirt_calls"]}
    assert silent == {"stat of every file"}


def test_ours_is_right_about_every_disk(result: dict[str, Any]) -> None:
    assert result["unsteady"] == 0
    names = [name for name in rows(result) if name.startswith(("audit", "agent"))]
    for name in names:
        held = fields(result, name)["host_allocated_bytes"]
        assert held["wrong"] == {}, name
        assert held["right"] == held["asked"]
    assert fields(result, "audit --no-guest")["host_allocated_bytes"]["right"] == result["classes"]
    for name in ("audit", "agent, full cycle", "agent, quiet cycle"):
        assert fields(result, name)["guest_used_bytes"]["right"] == {"guest's raw with ext4": 1}


def test_what_others_tell_is_judged(result: dict[str, Any]) -> None:
    wrong = fields(result, "Ceilometer's pollsters")["disk.device.allocation"]["wrong"]
    assert set(wrong["raw with its end written"]) == {"the end of the highest write"}
    assert set(wrong["qcow2 shut off"]) == {table.NOT_TOLD}
    assert "qcow2" not in wrong
    physical = fields(result, "getAllDomainStats(BLOCK)")["physical"]["wrong"]
    assert set(physical["raw with ext4 shut off"]) == {"the length of the file"}


def test_it_can_be_rendered(result: dict[str, Any]) -> None:
    where = about(Options(pathlib.Path(), _DOMAINS, _GUESTS, 1))
    text = table.render({"about": where, **result})
    assert all(f"| {name}" in text for name in rows(result))
    assert "did not end well" not in text
    result["peers"][0]["looks"][0]["trouble"] = "ended with 7"
    text = table.render({"about": where, **result})
    assert f"* {result['peers'][0]['name']}, round 1: ended with 7" in text

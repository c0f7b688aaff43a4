# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.api.schemas.instance import Totals
from nova_diskaudit.osc import rows
from nova_diskaudit.sdk.finding import Finding
from nova_diskaudit.sdk.host import Host
from nova_diskaudit.sdk.instance import Instance
from nova_diskaudit.sdk.usage import Usage

TOTALS = {
    "disks": 3,
    "virtual_bytes": 60,
    "virtual_unknown": 0,
    "host_allocated_bytes": 7,
    "host_allocated_unknown": 1,
    "guest_used_bytes": 0,
    "guest_used_unknown": 3,
    "used_low_bytes": 2,
    "used_high_bytes": None,
    "reclaimable_low_bytes": 0,
    "reclaimable_likely_bytes": 1,
    "reclaimable_high_bytes": None,
}
NONE = dict.fromkeys(
    name.replace("-", "_") for name in TOTALS if name.endswith("_bytes") or name == "disks"
)


def test_the_sums_are_those_of_the_service() -> None:
    assert set(rows.sums(TOTALS)) == set(Totals.__struct_fields__)


def test_a_sum_of_nothing_known_is_no_0() -> None:
    known = rows.sums(TOTALS)
    assert known["host_allocated_bytes"] == 7 and known["host_allocated_unknown"] == 1
    assert known["guest_used_bytes"] is None and known["guest_used_unknown"] == 3
    assert known["reclaimable_low_bytes"] == 0


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**63 - 1), st.booleans())
def test_known_exactly_if_a_disk_is_known(
    disks: int, unknown: int, held: int, is_seen: bool
) -> None:
    unknown = min(unknown, disks)
    totals = {
        **TOTALS,
        "disks": disks,
        "host_allocated_bytes": held,
        "host_allocated_unknown": unknown,
    }
    shown = rows.sums(totals, is_seen=is_seen)["host_allocated_bytes"]
    if disks:
        assert shown == (held if unknown < disks else None)
    else:
        assert shown == (held if is_seen else None)


@pytest.mark.parametrize(
    ("coverage", "is_known"),
    [
        ({"instances": 0, "host_measured": 0}, True),
        ({"instances": 2, "host_measured": 0}, False),
        ({"instances": 2, "host_measured": 1}, True),  # on volumes alone
    ],
)
def test_no_disks_means_no_bytes_only_where_somebody_looked(
    coverage: dict[str, Any], is_known: bool
) -> None:
    totals = {name: 0 for name in TOTALS}
    usage = Usage(project_id="p", totals=totals, coverage=coverage, as_of=None, limits=[])
    row = rows.of_usage(usage, "acme")
    assert row["host_allocated_bytes"] == (0 if is_known else None)
    assert row["project_name"] == "acme" and row["reasons"] == []


def test_no_project_at_all_has_the_same_keys() -> None:
    usage = Usage(project_id="p", totals=TOTALS, coverage={}, limits=[])
    assert set(rows.of_unknown_project()) == set(rows.of_usage(usage, None))
    numbers = {name: rows.of_unknown_project()[name] for name in TOTALS}
    assert set(numbers.values()) == {None}


def test_findings_of_an_instance_are_those_of_its_disks_too() -> None:
    own = {"code": "agent-absent", "severity": "info", "message": "m", "origin": "agent"}
    of_disk = {"code": "untrimmed", "severity": "warning", "message": "n"}
    instance = Instance(
        uuid="u",
        totals=TOTALS,
        findings=[own],
        disks=[{"target": "vda", "findings": [of_disk]}, {"target": "vdb", "findings": [of_disk]}],
    )
    row = rows.of_instance(instance)
    assert row["findings"] == ["agent-absent", "untrimmed"]
    assert [(one["code"], one["disk"]) for one in row["finding_details"]] == [
        ("agent-absent", None),
        ("untrimmed", "vda"),
        ("untrimmed", "vdb"),
    ]


def test_an_instance_that_was_listed_without_its_disks() -> None:
    row = rows.of_instance(Instance(uuid="u", totals=TOTALS))
    assert row["findings"] == [] and row["disk_details"] == [] and row["guest_state"] is None


def test_a_domain_that_nobody_could_describe_holds_an_unknown_amount() -> None:
    totals = {name: 0 for name in TOTALS}
    seen = rows.of_instance(Instance(uuid="u", totals=totals, state="running"))
    unseen = rows.of_instance(Instance(uuid="u", totals=totals, state="unknown"))
    assert seen["host_allocated_bytes"] == 0 and unseen["host_allocated_bytes"] is None


@pytest.mark.parametrize(
    ("free", "shown"), [([1, 2], 3), ([0], 0), ([1, None], None), ([None], None), ([], None)]
)
def test_free_bytes_of_a_host_are_those_of_all_its_storages(
    free: list[int | None], shown: int | None
) -> None:
    storages = [{"total_bytes": 9, "free_bytes": number} for number in free]
    assert rows.of_host(Host(name="h", storages=storages))["storage_free_bytes"] == shown


def test_a_finding_about_a_host() -> None:
    row = rows.of_finding(Finding(id="i", code="c", host="h", disks=None))
    assert row["disks"] == [] and row["instance"] is None

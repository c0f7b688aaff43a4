# SPDX-License-Identifier: Apache-2.0
"""The story of a disk adds up, line by line."""

from __future__ import annotations

import re

import pytest

from nova_diskaudit.audit import AuditError
from nova_diskaudit.explain import tell
from nova_diskaudit.facts import BlockInfo, DiskSighting, Doubt
from tests.unit.engine.builders import (
    GIB,
    MIB,
    NOW,
    claims,
    domain,
    facts,
    filesystem,
    sighting,
    stats,
)

SEEN = sighting(
    domain(),
    {"vda": DiskSighting(layers=(facts(),), after=facts(), stats=stats(2 * GIB, GIB, 100 * MIB))},
    claims=claims(filesystem()),
)


@pytest.mark.parametrize("held", [100 * MIB, 2 * GIB])
def test_every_formula_gives_the_number_beside_it(held: int) -> None:
    full = facts(allocated_bytes=held)
    seen = sighting(
        domain(),
        {"vda": DiskSighting(layers=(full,), after=full, stats=stats(2 * GIB, GIB, held))},
        claims=claims(filesystem()),
    )
    checked = 0
    for step in tell("h", seen, "vda", None).arithmetic:
        if re.fullmatch(r"(?:min|max|[\d\s,+()-])+", step.formula):
            assert eval(step.formula) == step.result_bytes, step
            checked += 1
    assert checked >= 8


def test_measured_and_predicted_stand_side_by_side() -> None:
    info = BlockInfo(capacity=2 * GIB, allocation=GIB, physical=100 * MIB, as_of=NOW)
    told = tell("h", SEEN, "vda", info).domblkinfo
    assert told.measured == told.predicted
    assert told.qmp is not None and told.qmp.wr_highest_offset == GIB
    assert told.branch is not None and "wr_highest_offset" in told.branch
    assert told.reason is None


def test_a_stopped_domain_is_predicted_and_never_asked() -> None:
    seen = sighting(domain(state="shutoff"))
    told = tell("h", seen, "vda", None).domblkinfo
    assert told.measured is None
    assert told.reason == "not asked: the domain is shutoff"
    assert told.predicted is not None and told.predicted.allocation == 100 * MIB


def test_a_hypervisor_that_hangs_is_a_reason() -> None:
    told = tell("h", SEEN, "vda", Doubt(code="qemu-unresponsive")).domblkinfo
    assert told.measured is None
    assert told.reason is not None and "QEMU" in told.reason


def test_an_unknown_disk_is_named_with_those_there_are() -> None:
    with pytest.raises(AuditError, match=r"no disk 'vdz'; it has: vda"):
        tell("h", SEEN, "vdz", None)

# SPDX-License-Identifier: Apache-2.0
"""The order of a cycle; what a cycle finds is asked of real hosts in tests/functional."""

from __future__ import annotations

import time

import pytest

from nova_diskaudit.agent.observatory import Observatory
from nova_diskaudit.agent.quarantine import Quarantine
from nova_diskaudit.audit.options import Options
from nova_diskaudit.lane import operations
from tests.unit.engine.fake_lanes import Lanes, guest


@pytest.fixture
def lanes() -> Lanes:
    silent = [guest(number, channel="absent") for number in range(1, 20)]
    return Lanes(*silent, guest(20), guest(21), guest(22))


def test_a_cycle_begins_with_the_guests_that_answered_last_time(lanes: Lanes) -> None:
    """They take longer than anything else, and others are looked at beside them."""
    quarantine = Quarantine(time.monotonic, first_seconds=1, most_seconds=1)
    options = Options(uri="qemu:///system")
    observatory = Observatory(lanes, options, "here", quarantine, full_cycles=1)  # type: ignore[arg-type]
    orders = []
    for _ in range(2):
        lanes.calls.clear()
        report = observatory.cycle()
        orders.append(lanes.asked(operations.DESCRIBE))
    listed = [guest(number).uuid for number in range(1, 23)]
    assert orders == [listed, [*listed[19:], *listed[:19]]]
    # In the order of the list all the same.
    assert report is not None
    assert [one.uuid for one in report.instances] == listed

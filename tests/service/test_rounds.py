# SPDX-License-Identifier: Apache-2.0
"""A few random rounds of agents, service and faults on each database; the module plays more."""

from __future__ import annotations

import pytest

from tests.service import rounds

SEED = 11


@pytest.mark.parametrize("name", rounds.SERVERS)
def test_nothing_is_lost_or_doubled(name: str) -> None:
    with (
        rounds.SERVERS[name](disk_mib=rounds.DISK_MIB) as server,
        rounds.stage(server, "rounds", SEED) as stage,
    ):
        for _ in range(8):
            stage.play()
    assert len(stage.happened) >= 4

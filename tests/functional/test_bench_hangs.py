# SPDX-License-Identifier: Apache-2.0
"""The hang table of the peers' benchmark in small: one peer that hangs, and the agent."""

from __future__ import annotations

import pathlib

from tests.bench.peers import hangs
from tests.bench.peers.result import Options


def test_one_hangs_and_the_agent_does_not(tmp_path: pathlib.Path) -> None:
    part = hangs.measure(Options(tmp_path, domains=hangs.SMOKE.domains), print)
    (point,) = part["points"]
    bulk, agent = point["rows"]
    assert point["stopped"] == point["hung"] == 1
    # The bare call waits for the stopped QEMU, and a worker of libvirtd with it.
    assert bulk["given_up"] == bulk["looks"] and bulk["late"] is None
    assert bulk["domains"] == (0, 6)
    assert bulk["held"] >= 1
    assert hangs.unharmed(point) == [agent["name"]] == [hangs.AGENT]
    assert agent["domains"] == (6, 6)
    assert agent["guests"] == (1, 1)
    # Looked at by eye elsewhere; here only that every row is shown.
    text = hangs.render(part)
    assert "0 of 6" in text and "6 of 6" in text

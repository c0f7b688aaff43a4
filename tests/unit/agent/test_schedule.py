# SPDX-License-Identifier: Apache-2.0
"""When the next cycle begins."""

from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.agent.schedule import seconds_to_next

INTERVAL = 300.0


@given(st.text(min_size=1), st.floats(0, 1e7), st.floats(1, 86400))
def test_the_next_tick_is_within_an_interval(
    host: str, since_first: float, interval: float
) -> None:
    left = seconds_to_next(host, since_first=since_first, interval=interval)
    assert 0 < left <= interval


@given(st.text(min_size=1), st.floats(0, 1e6))
def test_ticks_are_on_one_grid(host: str, since_first: float) -> None:
    """A cycle that took long skips ticks; it does not move them."""
    tick = since_first + seconds_to_next(host, since_first=since_first, interval=INTERVAL)
    first = seconds_to_next(host, since_first=0.0, interval=INTERVAL)
    assert abs((tick - first + INTERVAL / 2) % INTERVAL - INTERVAL / 2) < 1e-3


def test_hosts_that_start_together_do_not_report_together() -> None:
    first = [
        seconds_to_next(f"compute-{number}", since_first=0.0, interval=INTERVAL)
        for number in range(2000)
    ]
    shares = [sum(low <= one < low + 30 for one in first) / 2000 for low in range(0, 300, 30)]
    assert statistics.pstdev(shares) < 0.02


def test_without_an_inventory_the_next_try_is_soon() -> None:
    assert seconds_to_next("h", since_first=0.0, interval=86400.0, failed=True) <= 15.0
    assert seconds_to_next("h", since_first=0.0, interval=1.0, failed=True) <= 1.0

# SPDX-License-Identifier: Apache-2.0
"""What Nova feels: its calls to libvirt with the subject running against without it.

Slices with and without follow each other in one run, so that a machine whose speed drifts
favours neither. With means: running for a while. What the start costs Nova, when every domain is
asked at once, is told beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.bench.crowd import Crowd
from tests.bench.figures import Figure, percentile
from tests.bench.nova import Nova
from tests.bench.subject import Subject

_MOST_SLOWER = 1.2

Slice = tuple[float, float]


def measure(crowd: Crowd, subject: Subject, *, pairs: int, seconds: float) -> list[Figure]:
    """The subject is not running before and afterwards; nothing is done to the crowd."""
    host, _ = crowd.never_touched()
    starting: list[Slice] = []
    beside: list[Slice] = []
    alone: list[Slice] = []
    with Nova(crowd.hypervisor.uri, sorted(host)) as nova:
        for _ in range(pairs):
            alone.append(_slice(time.sleep, seconds))
            begun = time.monotonic()
            subject.start()
            subject.cycle()
            starting.append((begun, time.monotonic()))
            beside.append(_slice(subject.run_for, seconds))
            subject.stop()
    took = {
        "without": nova.seconds(alone),
        "beside": nova.seconds(beside),
        "starting": nova.seconds(starting),
    }
    ratio = percentile(took["beside"], 99) / percentile(took["without"], 99)
    rows = [
        Figure(
            f"Nova's calls {label}: p50 / p99 / max (ms), {len(took[key])} calls", _text(took[key])
        )
        for key, label in (
            ("without", "without it"),
            ("beside", "beside it"),
            ("starting", "while it starts"),
        )
    ]
    return [
        *rows,
        Figure(
            f"p99 beside / without, {pairs} pairs of {seconds:g} s",
            f"{ratio:.2f}",
            f"at most {_MOST_SLOWER:g}",
            ratio <= _MOST_SLOWER,
            of_time=True,
        ),
    ]


def _slice(wait: Callable[[float], None], seconds: float) -> Slice:
    begun = time.monotonic()
    wait(seconds)
    return begun, time.monotonic()


def _text(seconds: list[float]) -> str:
    p50, p99 = percentile(seconds, 50), percentile(seconds, 99)
    return f"{p50 * 1000:.2f} / {p99 * 1000:.2f} / {max(seconds) * 1000:.1f}"

# SPDX-License-Identifier: Apache-2.0
"""Memory of processes over time, as proportional set size."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from tests.bench.processes import pss_bytes, tree

_COMMAND_PERIOD_SECONDS = 0.02


class Gauge:
    """Samples: the moment (monotonic), and the bytes of all processes together."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, int]] = []

    def largest(self, since: float = 0.0, until: float = float("inf")) -> int:
        """Bytes; 0 when nothing was seen."""
        return max((size for at, size in self.samples if since <= at <= until), default=0)


@contextlib.contextmanager
def gauged(pids: Callable[[], set[int]], period_seconds: float) -> Iterator[Gauge]:
    """Sample the memory of some processes for the length of the block.

    :param pids: gives them, none while there are none.
    """
    gauge = Gauge()
    end = threading.Event()

    def watch() -> None:
        while not end.wait(period_seconds):
            if found := pss_bytes(pids()):
                gauge.samples.append((time.monotonic(), found))

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield gauge
    finally:
        end.set()
        thread.join(10)


def largest_of_command(command: Sequence[str]) -> int:
    """Bytes of a command and all that it starts, at their largest."""
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as process,
        gauged(lambda: tree(process.pid), _COMMAND_PERIOD_SECONDS) as gauge,
    ):
        process.wait()
    return gauge.largest()

# SPDX-License-Identifier: Apache-2.0
"""Memory of processes over time, as proportional set size."""

from __future__ import annotations

import subprocess
import threading
import time
import types
from collections.abc import Callable, Sequence
from typing import Self

from tests.bench.processes import pss_bytes, tree

_COMMAND_PERIOD_SECONDS = 0.02


class Gauge(threading.Thread):
    """The memory of some processes, sampled for the length of a block.

    ``pids`` gives them, none while there are none. ``samples`` are the moment (monotonic) and the
    bytes of all of them together.
    """

    def __init__(self, pids: Callable[[], set[int]], period_seconds: float) -> None:
        super().__init__(name="memory", daemon=True)
        self._pids = pids
        self._period_seconds = period_seconds
        self._end = threading.Event()
        self.samples: list[tuple[float, int]] = []

    def run(self) -> None:
        while not self._end.wait(self._period_seconds):
            if found := pss_bytes(self._pids()):
                self.samples.append((time.monotonic(), found))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._end.set()
        self.join(10)

    def largest(self, since: float = 0.0, until: float = float("inf")) -> int:
        """Bytes; 0 when nothing was seen."""
        return max((size for at, size in self.samples if since <= at <= until), default=0)


def largest_of_command(command: Sequence[str]) -> int:
    """Bytes of a command and all that it starts, at their largest."""
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as process,
        Gauge(lambda: tree(process.pid), _COMMAND_PERIOD_SECONDS) as gauge,
    ):
        process.wait()
    return gauge.largest()

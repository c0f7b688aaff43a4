# SPDX-License-Identifier: Apache-2.0
"""Threads that hand work to each other: a queue with an end, and faults that are not lost."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def take_some(source: queue.SimpleQueue[_T | None], most: int) -> list[_T]:
    """The next items that are ready, at least one and at most ``most``; empty at the end.

    The end is a None in the queue, which stays there.
    """
    several: list[_T] = []
    while len(several) < most:
        try:
            item = source.get(block=not several)
        except queue.Empty:
            break
        if item is None:
            source.put(None)
            break
        several.append(item)
    return several


class Worker(threading.Thread):
    """A thread whose fault is not lost: :meth:`finish` raises it where the work was wanted."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._fault: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Do the work; called by the thread itself."""
        try:
            self._work()
        except BaseException as fault:
            self._fault = fault

    def finish(self) -> None:
        """Wait for the end of the work."""
        self.join()
        if self._fault is not None:
            raise self._fault

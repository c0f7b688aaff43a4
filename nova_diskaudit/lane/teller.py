# SPDX-License-Identifier: Apache-2.0
"""How a lane tells its answers: together while they come quickly, and early when one is slow."""

from __future__ import annotations

import threading
import time

from nova_diskaudit.lane import wire

# What is answered is told after so long, or when it is as much as this.
_UNTOLD_SECONDS = 0.05
_UNTOLD_BYTES = 2**20


class Teller:
    """Collects the answers to one request after the other, and sends them.

    While a request for several things is served, a thread sends what is there every now and then:
    the one that serves may hang in the kernel or in libvirt, and the other side has to see which
    thing it hangs at, and what was answered before.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._mutex = threading.Lock()
        self._serial = wire.READY
        self._untold: list[wire.Answer] = []
        self._untold_bytes = 0
        self._is_serving = threading.Event()
        self._clock: threading.Thread | None = None

    def begin(self, serial: int, count: int) -> None:
        """The next answers are those of this request, for ``count`` things."""
        self._serial = serial
        if count > 1:
            if self._clock is None:
                self._clock = threading.Thread(target=self._watch, daemon=True)
                self._clock.start()
            self._is_serving.set()

    def add(self, answer: wire.Answer) -> None:
        """What the next thing's answer is."""
        with self._mutex:
            size = len(memoryview(answer.result))
            if self._untold_bytes + size > _UNTOLD_BYTES:
                self._tell()
            self._untold.append(answer)
            self._untold_bytes += size

    def end(self) -> None:
        """There are no more answers to this request."""
        with self._mutex:
            self._is_serving.clear()
            self._tell()

    def _tell(self) -> None:
        """Send what is there; the caller holds the mutex."""
        if self._untold:
            wire.write_all(self._fd, wire.frame(wire.Reply(self._serial, self._untold)))
            self._untold, self._untold_bytes = [], 0

    def _watch(self) -> None:
        while True:
            self._is_serving.wait()
            time.sleep(_UNTOLD_SECONDS)
            with self._mutex:
                self._tell()

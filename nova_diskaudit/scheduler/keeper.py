# SPDX-License-Identifier: Apache-2.0
"""The thread that renews the snapshot, and how everybody gets the newest one without waiting.

nova-scheduler makes its filters and then forks its workers, and no thread survives a fork; one
that were busy at that moment would leave its locks behind. So the thread is started at the first
use in each process. Whoever is first finds an empty snapshot, and so has no opinion.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from nova_diskaudit.scheduler import snapshot
from nova_diskaudit.scheduler.snapshot import Snapshot

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)

_LONGEST_SECONDS = 600.0
_MOST_REASON = 300


class Keeper:
    """Keeps a snapshot young.

    :param begin: makes what looks at the service, and says how many seconds there are from one
        look to the next. Called in the thread, and again if it fails.
    """

    def __init__(self, begin: Callable[[], tuple[Callable[[], Snapshot], float]]) -> None:
        self._begin = begin
        self._snapshot = snapshot.EMPTY
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        os.register_at_fork(after_in_child=self._forget_parent)

    def current(self) -> Snapshot:
        """The newest snapshot; it may be empty, and what is in it may be old."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._start()
        return self._snapshot

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="disk-audit", daemon=True)
                self._thread.start()

    def _forget_parent(self) -> None:
        self._thread, self._starting = None, threading.Lock()
        self._snapshot = snapshot.EMPTY

    def _run(self) -> None:
        look: Callable[[], Snapshot] | None = None
        interval, failures, told = _LONGEST_SECONDS, 0, ""
        pause, chance = threading.Event(), random.SystemRandom()
        while True:
            try:
                if look is None:
                    look, interval = self._begin()
                self._snapshot = look()
                if failures:
                    LOG.info("Disk audit: the central service answers again")
                failures, told = 0, ""
            except Exception as error:
                failures += 1
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_REASON]
                if reason != told:
                    LOG.error(
                        "Disk audit: the figures of the hosts cannot be renewed, and soon there "
                        "is no opinion about them: %s",
                        reason,
                    )
                told = reason
            # All workers of all controllers are started together, and fail together.
            seconds = min(interval * 2 ** min(failures, 10), max(interval, _LONGEST_SECONDS))
            pause.wait(seconds * chance.uniform(0.8, 1.2))


_shared: Keeper | None = None


def of(conf: cfg.ConfigOpts) -> Keeper:
    """The one of this process, by Nova's configuration; filter and weigher share it."""
    global _shared

    def begin() -> tuple[Callable[[], Snapshot], float]:
        # Here, in the thread: these libraries take half a second to import.
        from nova_diskaudit.scheduler.source import Source

        return Source(conf), float(conf.nova_diskaudit.refresh_interval)

    if _shared is None:
        _shared = Keeper(begin)
    return _shared

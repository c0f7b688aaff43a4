# SPDX-License-Identifier: Apache-2.0
"""Looks at single domains between cycles: what an event named, and what is due to be retried.

Two threads, so that the retry of a guest which hangs again delays no event.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from nova_diskaudit.agent.observatory import Observatory
from nova_diskaudit.agent.quarantine import Quarantine
from nova_diskaudit.health import PARTS
from nova_diskaudit.lane.lanes import Lanes

LOG = logging.getLogger(__name__)

# A list, the mounts and /proc are asked once for so many; more would delay the first of them.
_ASKED_TOGETHER = 16
# How often it is seen that a late reply has come, and that a retry is due.
_LOOK_SECONDS = 1.0


class Refresher:
    """Domains that are to be looked at now; thread-safe."""

    def __init__(self, observatory: Observatory) -> None:
        self._observatory = observatory
        self._changed = threading.Condition()
        self._wanted: dict[str, None] = {}
        self._stopped = False

    def ask(self, uuids: Iterable[str]) -> None:
        """Look at these domains soon; a domain that waits already waits once."""
        with self._changed:
            self._wanted.update(dict.fromkeys(uuids))
            self._changed.notify_all()

    def stop(self) -> None:
        """Let :meth:`run` end."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def run(self) -> None:
        """Until :meth:`stop`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._stopped)
                if self._stopped:
                    return
                chosen = list(self._wanted)[:_ASKED_TOGETHER]
                for uuid in chosen:
                    del self._wanted[uuid]
            try:
                self._observatory.refresh(chosen)
            except Exception:
                # Whoever it is about, the next cycle sees it.
                LOG.exception("Not refreshed: %s", ", ".join(chosen))
                self._observatory.touch(None)


def retry(
    observatory: Observatory,
    quarantine: Quarantine,
    lanes: Lanes,
    refresher: Refresher,
    stop: threading.Event,
) -> None:
    """Until ``stop`` is set: try what is due, one at a time, and notice late replies."""
    while not stop.wait(_LOOK_SECONDS):
        back = observatory.known(lanes.returned())
        for uuid in back:
            quarantine.try_now(uuid, PARTS)
        refresher.ask(back)
        for uuid, part in quarantine.due()[:1]:
            LOG.debug("%s: %s is tried again", uuid, part)
            try:
                observatory.refresh({uuid}, retry=part)
            except Exception:
                LOG.exception("%s: %s could not be tried again", uuid, part)
            quarantine.postpone(uuid, part)

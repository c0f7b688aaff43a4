# SPDX-License-Identifier: Apache-2.0
"""Listens to libvirt, and says which domains are to be looked at before their turn.

Events only bring a look forward: what they do not tell, the next cycle finds by itself. Where
some may have been missed, it looks at every domain in full, since an agent that was started anew
leaves no trace.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from nova_diskaudit.agent.debounce import Debounce
from nova_diskaudit.facts import Events
from nova_diskaudit.health import EventStatus
from nova_diskaudit.lane import operations
from nova_diskaudit.lane.lanes import LaneError, Lanes

LOG = logging.getLogger(__name__)

_WAIT_SECONDS = 10.0
# Beyond the wait itself: to connect, and to answer.
_ANSWER_SECONDS = 5.0
_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 15.0


class Listener:
    """The way from libvirt's events to what is to be done about them; thread-safe.

    :param touch: told a domain that may have changed; None: all of them.
    :param refresh: told the domains to look at now.
    :param woke: told a domain that may answer again; True: whatever it is that was silent,
        False: its guest agent.
    """

    def __init__(
        self,
        lanes: Lanes,
        debounce: Debounce,
        *,
        touch: Callable[[str | None], None],
        refresh: Callable[[Collection[str]], None],
        woke: Callable[[str, bool], object],
    ) -> None:
        self._lanes = lanes
        self._debounce = debounce
        self._touch = touch
        self._refresh = refresh
        self._woke = woke
        #: whether events arrive
        self.connected = False
        self._received = 0
        self._lost = 0
        self._connections = 0

    def status(self) -> EventStatus:
        """How it goes."""
        return EventStatus(
            connected=self.connected,
            received=self._received,
            lost=self._lost,
            connections=self._connections,
        )

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set and the lanes are closed."""
        retry_seconds = _FIRST_RETRY_SECONDS
        while not stop.is_set():
            seconds = min(_WAIT_SECONDS, self._debounce.seconds_to_next(time.monotonic()))
            try:
                answer = self._lanes.call(
                    operations.EVENTS, seconds, deadline=seconds + _ANSWER_SECONDS
                )
            except LaneError as error:
                if stop.is_set():
                    return
                if self.connected:
                    LOG.warning("No events of libvirt until it answers again: %s", error)
                self.connected = False
                stop.wait(retry_seconds)
                retry_seconds = min(2 * retry_seconds, _LONGEST_RETRY_SECONDS)
            else:
                retry_seconds = _FIRST_RETRY_SECONDS
                self._take(answer)
            self._answer_guests()

    def _take(self, answer: Events) -> None:
        if answer.lost:
            self._lost += 1
            self._touch(None)
        if not self.connected:
            LOG.info("Listening to libvirt's events")
            self._connections += 1
            self.connected = True
        self._received += len(answer.events)
        for event in answer.events:
            LOG.debug("%s: %s event", event.uuid, event.kind)
            self._touch(event.uuid)
        now = time.monotonic()
        chosen: dict[str, None] = {}
        for event in answer.events:
            if event.kind == "agent":
                self._debounce.happened(event.uuid, now)
                continue
            if event.kind == "lifecycle":
                self._woke(event.uuid, True)
            chosen[event.uuid] = None
        if chosen:
            self._refresh(chosen)

    def _answer_guests(self) -> None:
        due = self._debounce.due(time.monotonic())
        for uuid in due:
            self._woke(uuid, False)
        if due:
            self._refresh(due)

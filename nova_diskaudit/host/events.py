# SPDX-License-Identifier: Apache-2.0
"""What libvirt tells by itself: domains that started, stopped, or got other disks.

Events arrive while libvirt's event loop runs, which is while somebody asks for them; what comes
between waits in the socket. They are hints about whom to look at, and nothing is concluded from
them: libvirt drops events for a client that reads too slowly, and sends none while it is away.
"""

from __future__ import annotations

import time
from typing import Any

import libvirt

from nova_diskaudit.facts import Event, EventKind, Events
from nova_diskaudit.host.errors import HostError

# A guest can open and close its agent's channel in a loop. Equal events are kept once, so this
# bounds only what a flood of new domains can make us hold.
_MOST_EVENTS = 10_000
# A daemon that says nothing for so long is given up, and the connection with it.
_KEEPALIVE_SECONDS = 5
_KEEPALIVE_COUNT = 3

_WATCHED: dict[int, EventKind] = {
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE: "lifecycle",
    libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE: "agent",
    libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2: "block-job",
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED: "device",
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED: "device",
}


def prepare() -> None:
    """Register libvirt's event loop; to be called before any connection is opened."""
    libvirt.virEventRegisterDefaultImpl()


class _Gathered:
    """What one connection has told since it was last asked."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self.connection = connection
        self._events: dict[Event, None] = {}
        self._lost = True  # whatever happened before this connection
        self._ended = False
        connection.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT)
        connection.registerCloseCallback(self._end, None)
        for number, kind in _WATCHED.items():
            # None for the domain: any of them, those that do not exist yet included.
            connection.domainEventRegisterAny(None, number, self._happened, kind)

    def _happened(self, connection: Any, domain: libvirt.virDomain, *details: Any) -> None:
        event = Event(uuid=domain.UUIDString(), kind=details[-1])
        if len(self._events) < _MOST_EVENTS:
            self._events[event] = None
        elif event not in self._events:
            self._lost = True

    def _end(self, connection: Any, reason: int, opaque: Any) -> None:
        self._ended = True

    def take(self, seconds: float) -> Events:
        until = time.monotonic() + seconds
        # The loop waits for a socket or a timer; this one ends the wait.
        timer = libvirt.virEventAddTimeout(max(1, round(seconds * 1000)), _nothing, None)
        try:
            while not (self._events or self._lost or self._ended) and time.monotonic() < until:
                libvirt.virEventRunDefaultImpl()
        finally:
            libvirt.virEventRemoveTimeout(timer)
        if self._ended:
            raise HostError("no-connection", "libvirt closed the connection for events")
        taken = Events(events=tuple(self._events), lost=self._lost)
        self._events, self._lost = {}, False
        return taken


def _nothing(timer: int, opaque: Any) -> None:
    """The loop has been woken up, which is all."""


_gathered: list[_Gathered] = []


def events(connection: libvirt.virConnect, seconds: float) -> Events:
    """What has happened since the last call; waits at most ``seconds`` for something to happen.

    :raises HostError: ``no-connection`` when it ended; the next call is over another one, and
        its first answer says that events were lost.
    """
    if not _gathered or _gathered[0].connection is not connection:
        _gathered.clear()
        try:
            _gathered.append(_Gathered(connection))
        except libvirt.libvirtError as error:
            raise HostError("no-connection", f"no events: {error}") from None
    return _gathered[0].take(seconds)

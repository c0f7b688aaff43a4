# SPDX-License-Identifier: Apache-2.0
"""When to answer events that a guest can cause as often as it likes. Pure: no clock.

A reboot makes two or three of them and is answered within a moment of each; a guest that opens
and closes its agent's channel in a loop gets a few answers a window and no more.
"""

from __future__ import annotations

import dataclasses

_MOST_ANSWERS = 4


@dataclasses.dataclass(slots=True)
class _Channel:
    last: float = 0.0
    waits_since: float | None = None
    answered: list[float] = dataclasses.field(default_factory=list)


class Debounce:
    """Events by domain; the caller gives the time, in seconds of a clock that only grows.

    An event is answered once it has been quiet for ``quiet_seconds``, or has waited for
    ``window_seconds``; and at most four times in ``window_seconds``.
    """

    def __init__(self, *, quiet_seconds: float, window_seconds: float) -> None:
        self.quiet_seconds = quiet_seconds
        self.window_seconds = window_seconds
        self._channels: dict[str, _Channel] = {}

    def happened(self, uuid: str, now: float) -> None:
        """One more event of this domain."""
        channel = self._channels.setdefault(uuid, _Channel())
        channel.last = now
        if channel.waits_since is None:
            channel.waits_since = now

    def due(self, now: float) -> list[str]:
        """The domains to answer now; each is answered by being returned."""
        found = [
            uuid for uuid, channel in self._channels.items() if self._time(channel, now) <= now
        ]
        for uuid in found:
            channel = self._channels[uuid]
            channel.waits_since = None
            channel.answered = [*self._recent(channel, now), now]
        for uuid in [
            uuid
            for uuid, channel in self._channels.items()
            if channel.waits_since is None and not self._recent(channel, now)
        ]:
            del self._channels[uuid]
        return found

    def seconds_to_next(self, now: float) -> float:
        """Seconds until :meth:`due` has an answer; infinite when nothing waits."""
        times = [self._time(channel, now) for channel in self._channels.values()]
        return max(0.0, min(times, default=float("inf")) - now)

    def _time(self, channel: _Channel, now: float) -> float:
        """When it is to be answered; infinite when nothing waits."""
        if channel.waits_since is None:
            return float("inf")
        settled = channel.last + self.quiet_seconds
        overdue = channel.waits_since + self.window_seconds
        recent = self._recent(channel, now)
        free = recent[-_MOST_ANSWERS] + self.window_seconds if len(recent) >= _MOST_ANSWERS else now
        return max(min(settled, overdue), free)

    def _recent(self, channel: _Channel, now: float) -> list[float]:
        return [time for time in channel.answered if now - time < self.window_seconds]

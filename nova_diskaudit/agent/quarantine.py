# SPDX-License-Identifier: Apache-2.0
"""Who is left alone for a while: domains and guest agents that missed a deadline.

Each further miss doubles the time, up to a cap. An event may bring the next try forward; only an
answer forgets the misses, so that a guest which plays dead and alive gains nothing by it.
"""

from __future__ import annotations

import dataclasses
import datetime
import threading
from collections.abc import Callable, Collection

from nova_diskaudit.health import Part, Quarantined

# Entries of domains that libvirt does not list any more are forgotten by the cycle; this only
# bounds what a flood of domains can make us hold between two of them.
_MOST_ENTRIES = 20_000


@dataclasses.dataclass(slots=True)
class _Entry:
    name: str
    code: str
    detail: str | None
    since: datetime.datetime
    failures: int
    next_try: float


class Quarantine:
    """Misses by domain and part; thread-safe.

    ``clock`` gives seconds that no change of the wall clock moves; ``first_seconds`` and
    ``most_seconds`` bound the back-off and may be changed at any time.
    """

    def __init__(
        self, clock: Callable[[], float], *, first_seconds: float, most_seconds: float
    ) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._entries: dict[tuple[str, Part], _Entry] = {}
        self.first_seconds = first_seconds
        self.most_seconds = most_seconds

    def missed(self, uuid: str, name: str, part: Part, code: str, detail: str | None) -> None:
        """Part of the domain did not answer in time."""
        with self._mutex:
            entry = self._entries.get((uuid, part))
            if entry is None:
                if len(self._entries) >= _MOST_ENTRIES:
                    return
                entry = _Entry(name, code, detail, _utc_now(), 0, 0.0)
                self._entries[uuid, part] = entry
            entry.code, entry.detail, entry.name = code, detail, name
            entry.failures += 1
            # The exponent is bounded, since a float's is.
            seconds = self.first_seconds * 2.0 ** min(entry.failures - 1, 30)
            entry.next_try = self._clock() + min(seconds, self.most_seconds)

    def answered(self, uuid: str, part: Part) -> None:
        """It is well again."""
        with self._mutex:
            self._entries.pop((uuid, part), None)

    def try_now(self, uuid: str, parts: Collection[Part]) -> bool:
        """Bring the next try forward, without forgetting the misses; false if there is none."""
        with self._mutex:
            entries = [self._entries.get((uuid, part)) for part in parts]
            for entry in entries:
                if entry is not None:
                    entry.next_try = min(entry.next_try, self._clock())
            return any(entries)

    def why(self, uuid: str, part: Part) -> tuple[str, str] | None:
        """The code and a clause for a part that is left alone; None when it may be asked.

        One whose time has come is still left alone here: :meth:`due` hands it out to whoever
        retries, one at a time, so that no cycle waits for it.
        """
        with self._mutex:
            entry = self._entries.get((uuid, part))
            if entry is None:
                return None
            return entry.code, f"left alone since {entry.failures} missed deadlines in a row"

    def due(self) -> list[tuple[str, Part]]:
        """What is to be tried again now, the longest overdue first."""
        with self._mutex:
            now = self._clock()
            ready = [(e.next_try, key) for key, e in self._entries.items() if e.next_try <= now]
            return [key for _, key in sorted(ready)]

    def postpone(self, uuid: str, part: Part) -> None:
        """A retry could not ask after all: not before the shortest back-off is over again."""
        with self._mutex:
            entry = self._entries.get((uuid, part))
            if entry is not None and entry.next_try <= self._clock():
                entry.next_try = self._clock() + self.first_seconds

    def next_due_seconds(self) -> float | None:
        """Seconds until the next retry; None when nothing is left alone."""
        with self._mutex:
            if not self._entries:
                return None
            return max(0.0, min(e.next_try for e in self._entries.values()) - self._clock())

    def keep(self, uuids: Collection[str]) -> None:
        """Forget domains that are gone."""
        with self._mutex:
            for key in [key for key in self._entries if key[0] not in uuids]:
                del self._entries[key]

    def status(self) -> tuple[Quarantined, ...]:
        """All entries, oldest first."""
        with self._mutex:
            now, clock = _utc_now(), self._clock()
            return tuple(
                Quarantined(
                    uuid=uuid,
                    domain=entry.name,
                    part=part,
                    code=entry.code,
                    since=entry.since,
                    failures=entry.failures,
                    next_try=now + datetime.timedelta(seconds=max(0.0, entry.next_try - clock)),
                )
                for (uuid, part), entry in sorted(
                    self._entries.items(), key=lambda item: item[1].since
                )
            )


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)

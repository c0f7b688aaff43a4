# SPDX-License-Identifier: Apache-2.0
"""Tokens for calls that can wait on a QEMU or a guest, so that few workers of libvirtd do.

Killing the caller frees no worker: libvirtd keeps it until QEMU answers (measured on 9.0). So a
token comes back with the reply and with nothing else. A call that missed its deadline is
*parked*; one whose caller died is an *orphan*, which ends when its cause has provably ended.
Every call is remembered in a file from before it begins until its reply, so that runs which are
killed in the middle of their calls do not pin more workers each.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pathlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator

import msgspec

from nova_diskaudit.facts import Process
from nova_diskaudit.lane.errors import NoToken
from nova_diskaudit.lane.operations import TokenKind

LOG = logging.getLogger(__name__)

LIMITS: dict[TokenKind, int] = {"stats": 1, "guest": 2}

_MAX_FILE_BYTES = 2**18
_MAX_HOLDERS = 256
_SETTLE_SECONDS = 1.0
_LOCK_SECONDS = 2.0


def now() -> float:
    """Seconds since boot, suspended time included: no change of the clock moves it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """One call that holds a token. ``since`` and ``expires`` are seconds since boot.

    ``others`` are further domains that the same call asks about, after ``subject``. ``expires``
    is when an agent call has ended for certain, even if its caller died.
    """

    id: str
    kind: TokenKind
    subject: str
    process: Process | None
    since: float
    expires: float | None
    others: tuple[tuple[str, Process], ...] = ()


class TokenState(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one kind: how many there are, and the subjects of the calls that hold one."""

    kind: TokenKind
    limit: int
    active: int
    parked: tuple[str, ...]
    orphaned: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """The state file. Seconds since boot mean nothing after another boot."""

    version: int
    boot_id: str
    holders: tuple[Holder, ...]


class Tokens:
    """Counts tokens by kind; thread-safe.

    ``has_ended(holder)`` finds out whether the stats call of an orphan has ended; it may take a
    moment and must not raise.
    """

    def __init__(
        self, state_path: pathlib.Path | None, has_ended: Callable[[Holder], bool]
    ) -> None:
        self._has_ended = has_ended
        self._changed = threading.Condition()
        self._active: dict[str, Holder] = {}
        self._parked: dict[str, Holder] = {}
        self._orphans: dict[str, Holder] = {}
        self._settled_at = -_SETTLE_SECONDS
        self._memory = _Memory(state_path) if state_path is not None else None
        if self._memory is not None:
            self._orphans = {holder.id: holder for holder in self._memory.read()}

    def take(
        self,
        kind: TokenKind,
        subject: str,
        *,
        process: Process | None = None,
        others: tuple[tuple[str, Process], ...] = (),
        seconds: float,
        expires_after: float | None = None,
    ) -> Holder:
        """A token for a call about ``subject`` and ``others``.

        Waits at most ``seconds`` for calls that are within their deadline, and not at all for
        others.

        :raises NoToken: when none comes free.
        """
        until = time.monotonic() + seconds
        settled = False
        while True:
            with self._changed:
                holders = self._holders(kind)
                if len(holders) < LIMITS[kind]:
                    holder = _holder(kind, subject, process, others, expires_after)
                    self._active[holder.id] = holder
                    break
                orphans = [h for h in self._orphans.values() if h.kind == kind]
                rested = time.monotonic() - self._settled_at >= _SETTLE_SECONDS
                if orphans and rested and not settled:
                    settled = True
                elif any(h.kind == kind for h in self._active.values()):
                    if self._changed.wait(until - time.monotonic()):
                        continue
                    raise NoToken(kind, tuple(h.subject for h in holders))
                else:
                    raise NoToken(kind, tuple(h.subject for h in holders))
            self._settle(orphans)
        self._remember(add=[holder])
        return holder

    def give_back(self, holder: Holder) -> None:
        """The reply has arrived."""
        with self._changed:
            self._parked.pop(holder.id, None)
            self._active.pop(holder.id, None)
            self._changed.notify_all()
        self._remember(forget=[holder])

    def park(self, holder: Holder) -> None:
        """The call missed its deadline and goes on."""
        with self._changed:
            if self._active.pop(holder.id, None) is None:
                return
            self._parked[holder.id] = holder
            self._changed.notify_all()
        self._remember(add=[holder])

    def orphan(self, holder: Holder) -> None:
        """The caller died; the call may go on in libvirtd."""
        with self._changed:
            known = self._active.pop(holder.id, None) or self._parked.pop(holder.id, None)
            if known is None:
                return
            self._orphans[holder.id] = holder
            # Its caller is gone, so what libvirt says of it now is new.
            self._settled_at = -_SETTLE_SECONDS
            self._changed.notify_all()
        self._remember(add=[holder])

    def abandon(self) -> None:
        """All callers are about to be killed: every call that is not answered is an orphan."""
        with self._changed:
            pending = {**self._active, **self._parked}
            self._active.clear()
            self._parked.clear()
            self._orphans |= pending
        self._remember(add=pending.values())

    def states(self) -> list[TokenState]:
        """Who holds the tokens of each kind."""
        with self._changed:
            return [
                TokenState(
                    kind=kind,
                    limit=limit,
                    active=sum(h.kind == kind for h in self._active.values()),
                    parked=tuple(h.subject for h in self._parked.values() if h.kind == kind),
                    orphaned=tuple(h.subject for h in self._orphans.values() if h.kind == kind),
                )
                for kind, limit in LIMITS.items()
            ]

    def _holders(self, kind: TokenKind) -> list[Holder]:
        every = (self._active, self._parked, self._orphans)
        return [h for some in every for h in some.values() if h.kind == kind]

    def _settle(self, orphans: list[Holder]) -> None:
        """Find out which orphans have ended."""
        ended = [h for h in orphans if self._is_over(h)]
        with self._changed:
            for holder in ended:
                self._orphans.pop(holder.id, None)
            self._settled_at = time.monotonic()
            self._changed.notify_all()
        self._remember(forget=ended)

    def _is_over(self, holder: Holder) -> bool:
        if holder.expires is not None and now() >= holder.expires:
            return True
        return holder.kind == "stats" and self._has_ended(holder)

    def _remember(self, add: Iterable[Holder] = (), forget: Iterable[Holder] = ()) -> None:
        if self._memory is not None:
            self._memory.change(list(add), {h.id for h in forget})


def _holder(
    kind: TokenKind,
    subject: str,
    process: Process | None,
    others: tuple[tuple[str, Process], ...],
    expires_after: float | None,
) -> Holder:
    since = now()
    return Holder(
        id=uuid.uuid4().hex,
        kind=kind,
        subject=subject,
        process=process,
        others=others,
        since=since,
        expires=since + expires_after if expires_after is not None else None,
    )


class _Memory:
    """The state file: what is pinned, by any run of this tool on this host.

    Failing to remember is no reason to fail: it is logged, once.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._boot_id = _boot_id()
        self._said = False
        self._mutex = threading.Lock()

    def read(self) -> tuple[Holder, ...]:
        """What earlier runs left behind, and other runs have parked just now."""
        try:
            with self._locked():
                return self._load()
        except OSError as error:
            self._say(error)
            return ()

    def change(self, add: list[Holder], forget: set[str]) -> None:
        """Add and forget holders, leaving those of other runs in place."""
        if not add and not forget:
            return
        try:
            with self._locked():
                kept = {h.id: h for h in self._load() if h.id not in forget}
                kept |= {h.id: h for h in add}
                self._store(tuple(kept.values())[-_MAX_HOLDERS:])
        except OSError as error:
            self._say(error)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # The lock has a file of its own, because the other one is replaced.
        with self._mutex:
            fd = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _flock(fd)
                yield
            finally:
                os.close(fd)

    def _load(self) -> tuple[Holder, ...]:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return ()
        with open(fd, "rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        try:
            if len(data) > _MAX_FILE_BYTES:
                raise ValueError(f"it has more than {_MAX_FILE_BYTES} bytes")
            content = msgspec.json.decode(data, type=_File)
            if content.version != 1:
                raise ValueError(f"its version is {content.version}")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            aside = f"{self._path}.corrupt"
            os.replace(self._path, aside)
            LOG.warning("%s is not readable (%s); it is kept as %s", self._path, error, aside)
            return ()
        if content.boot_id != self._boot_id:
            return ()
        # What claims to have begun in the future, or to hold for ever, was not written by us.
        return tuple(h for h in content.holders[-_MAX_HOLDERS:] if h.since <= now() + 1)

    def _store(self, holders: tuple[Holder, ...]) -> None:
        content = _File(version=1, boot_id=self._boot_id, holders=holders)
        fresh = f"{self._path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            # Not synced to the disk: after another boot nothing of it holds.
            file.write(msgspec.json.encode(content))
        os.replace(fresh, self._path)

    def _say(self, error: OSError) -> None:
        if not self._said:
            self._said = True
            LOG.warning("calls that hang will not be remembered: %s", error)


def _flock(fd: int) -> None:
    """Lock, but do not wait for ever for a run that was stopped while it held the lock."""
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.02)


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(64).strip()
    except OSError:
        return "unknown"

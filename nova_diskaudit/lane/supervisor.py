# SPDX-License-Identifier: Apache-2.0
"""The one thread that has children started, listens for late replies, and buries the dead."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
import time
from collections.abc import Callable

from nova_diskaudit.lane import wire
from nova_diskaudit.lane.child import Child, ChildDied
from nova_diskaudit.lane.nursery import Nursery
from nova_diskaudit.lane.operations import Kind

# A nursery that was killed, until it is gone.
_END_SECONDS = 1.0

#: called with the late reply, or with None when the child died first
Late = Callable[[wire.Reply | None], None]


class Supervisor:
    """Owns the nursery and every child, from its start until it is reaped.

    The nursery is started in its thread, because the kernel kills it, and so every child, when
    the thread that started it ends (prctl(2)), and callers' threads come and go. One that has
    ended is replaced when the next child is wanted.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = threading.Lock()
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._nursery: Nursery | None = None
        self._children: set[Child] = set()
        self._ending: set[Child] = set()
        self._parked: dict[int, tuple[Child, Late]] = {}
        self._poll = select.poll()
        self._poll.register(self._wake_in, select.POLLIN)
        self._stop_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="lane-supervisor", daemon=True)
        self._thread.start()

    def spawn(self, kind: Kind) -> Child:
        """Start a child, without waiting until it can be asked.

        :raises OSError: when the system has no room for one, or the lanes are closed.
        """
        done = threading.Event()
        outcome: list[Child | BaseException] = []

        def start() -> None:
            try:
                if self._stop_at is not None:
                    raise _closed()
                child = self._open_nursery().child(kind)
                self._children.add(child)
                outcome.append(child)
            except BaseException as error:
                outcome.append(error)
            finally:
                done.set()

        self._tell(start)
        while not done.wait(0.5):
            if not self._thread.is_alive():
                raise _closed()
        child = outcome[0]
        if isinstance(child, BaseException):
            raise child
        return child

    def park(self, child: Child, late: Late) -> None:
        """Wait for the late reply of a child, then call ``late`` and end the child."""

        def watch() -> None:
            if child not in self._children or child in self._ending:
                late(None)
                return
            self._parked[child.fileno()] = child, late
            self._poll.register(child.fileno(), select.POLLIN)

        self._tell(watch)

    def retire(self, child: Child) -> None:
        """End a child that is not needed any more."""
        self._tell(lambda: self._end(child))

    def stop(self, seconds: float) -> None:
        """Kill every child; wait for their end at most so long. Parked calls get no answer."""

        def begin() -> None:
            self._stop_at = time.monotonic() + seconds
            if self._nursery is not None and self._nursery.is_starting:
                self._nursery.give_up("is not needed any more")
            for child in list(self._children):
                self._end(child)

        self._tell(begin)
        self._thread.join(seconds + 1)
        if not self._thread.is_alive():
            with self._wake:
                os.close(self._wake_in)
                os.close(self._wake_out)
                self._wake_out = -1

    def _tell(self, command: Callable[[], None]) -> None:
        self._commands.put(command)
        with self._wake, contextlib.suppress(BlockingIOError):  # full: it is awake already
            if self._wake_out >= 0:
                os.write(self._wake_out, b".")

    def _run(self) -> None:
        while self._stop_at is None or (self._ending and time.monotonic() < self._stop_at):
            for child in self._ending:
                if child.pidfd is not None:
                    self._poll.register(child.pidfd, select.POLLIN)
            for fd, _ in self._poll.poll(self._patience()):
                if fd == self._wake_in:
                    self._obey()
                elif self._nursery is not None and fd == self._nursery.fileno():
                    self._hear(self._nursery)
                elif self._nursery is not None and fd == self._nursery.pidfd:
                    self._bury(self._nursery)
                else:
                    self._listen(fd)
            if self._nursery is not None:
                self._nursery.give_up_if_silent()
            self._reap()
        if self._nursery is not None:
            self._nursery.close(self._stop_at - time.monotonic())

    def _reap(self) -> None:
        for child in list(self._ending):
            pidfd = child.pidfd
            if not child.reap():
                continue
            self._ending.discard(child)
            self._children.discard(child)
            self._forget(pidfd)

    def _patience(self) -> float | None:
        """Milliseconds until there is something to do even if nothing is told."""
        until = [] if self._stop_at is None else [self._stop_at]
        if self._nursery is not None:
            answer = self._nursery.answers_until()
            until += [] if answer is None else [answer]
        return max(0.0, min(until) - time.monotonic()) * 1000 if until else None

    def _open_nursery(self) -> Nursery:
        """The nursery, a fresh one if need be.

        :raises OSError: when the system has no room for it, or the last one does not end.
        """
        if self._nursery is not None and not self._nursery.is_usable():
            self._nursery.await_end(_END_SECONDS)
            self._bury(self._nursery)
            if self._nursery is not None:
                raise OSError(0, "the nursery does not end")
        if self._nursery is None:
            self._nursery = Nursery(self._uri)
            self._poll.register(self._nursery.fileno(), select.POLLIN)
            self._poll.register(self._nursery.pidfd, select.POLLIN)
        return self._nursery

    def _hear(self, nursery: Nursery) -> None:
        if not nursery.hear():
            # Its end follows; the socket would be readable until then.
            self._forget(nursery.fileno())

    def _bury(self, nursery: Nursery) -> None:
        """Forget it if it has ended."""
        descriptors = nursery.fileno(), nursery.pidfd
        if nursery.bury():
            self._nursery = None
            for fd in descriptors:
                self._forget(fd)

    def _forget(self, fd: int | None) -> None:
        if fd is not None:
            with contextlib.suppress(KeyError):  # it was not listened to
                self._poll.unregister(fd)

    def _obey(self) -> None:
        while True:
            try:
                if not os.read(self._wake_in, 4096):
                    break
            except BlockingIOError:
                break
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            command()

    def _listen(self, fd: int) -> None:
        entry = self._parked.get(fd)
        if entry is None:
            return
        child, late = entry
        try:
            reply = child.late_reply()
            if reply is None:
                return
        except ChildDied:
            reply = None
        self._end(child)
        late(reply)

    def _end(self, child: Child) -> None:
        fd = child.fileno()
        if self._parked.pop(fd, None) is not None:
            self._poll.unregister(fd)
        child.kill()
        self._ending.add(child)


def _closed() -> OSError:
    return OSError(0, "the lanes are closed")

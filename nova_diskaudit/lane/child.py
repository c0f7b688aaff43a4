# SPDX-License-Identifier: Apache-2.0
"""One lane process from its parent's side: start it, ask it with a deadline, end it."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Sequence

import msgspec

from nova_diskaudit.lane import wire
from nova_diskaudit.lane.operations import Kind

_START_SECONDS = 30.0
# From the end of its socket until the nursery has told how it ended.
_FATE_SECONDS = 1.0


class ChildDied(Exception):
    """It ended, or broke the protocol; the text says which."""


class _HungUp(Exception):
    """Nothing can be sent or received any more."""


class Child:
    """A lane process with at most one request on its way.

    It is made before it is born: what is asked meanwhile waits in its socket. One thread (the
    supervisor's) tells of its birth and end, kills it and reaps it; any other may ask.
    """

    def __init__(self, kind: Kind, ours: socket.socket) -> None:
        self.kind = kind
        self.pid: int | None = None
        self.pidfd: int | None = None
        self._socket = ours
        self._socket.setblocking(False)
        self._serial = wire.READY
        self._reader = wire.FrameReader()
        self._is_doomed = False
        self._fate: str | None = None
        self._has_fate = threading.Event()

    def born(self, pid: int, pidfd: int) -> None:
        """It has begun, as this process; ``pidfd`` is its own from now on."""
        self.pid, self.pidfd = pid, pidfd
        if self._is_doomed:
            self.kill()

    def ended(self, fate: str) -> None:
        """It has ended, or will never be born. ``fate`` is how, as in "was killed by signal 9"."""
        self._fate = fate
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._has_fate.set()

    def fileno(self) -> int:
        """The descriptor that becomes readable when a reply arrives."""
        return self._socket.fileno()

    def ask(
        self, operation: str, things: Sequence[msgspec.Raw], seconds: float, all_seconds: float
    ) -> list[wire.Answer]:
        """The answers for these things, in order.

        There are fewer when the next one does not arrive within ``seconds`` after those before it,
        or within ``all_seconds`` at all, and then :meth:`late_reply` has it. The time to start the
        child is not counted.

        :raises ChildDied: when the child cannot answer any more.
        """
        answers: list[wire.Answer] = []
        try:
            refusal = self._start()
            if refusal is not None:
                return [refusal] * len(things)
            self._serial += 1
            request = wire.frame(wire.Request(self._serial, operation, list(things)))
            end = time.monotonic() + all_seconds
            until = min(time.monotonic() + seconds, end)
            self._send(request, until)
            while len(answers) < len(things):
                reply = self._receive(until)
                if reply is None:
                    break
                if not 0 < len(reply.answers) <= len(things) - len(answers):
                    raise ChildDied(f"the {self.kind} lane answered what was not asked")
                answers += reply.answers
                until = min(time.monotonic() + seconds, end)
        except _HungUp as hung_up:
            raise ChildDied(self._epitaph(hung_up)) from None
        return answers

    def late_reply(self) -> wire.Reply | None:
        """What has arrived since :meth:`ask` gave up; None when it is not yet whole.

        :raises ChildDied: when the child cannot answer any more.
        """
        try:
            return self._receive(time.monotonic())
        except _HungUp as hung_up:
            raise ChildDied(f"the {self.kind} lane hung up{hung_up}") from None

    def is_usable(self) -> bool:
        """Whether it lives and nothing unexpected waits to be read."""
        if self._serial == wire.READY:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def kill(self) -> None:
        """End it. A process that waits for storage in the kernel dies only afterwards."""
        self._is_doomed = True
        # Not closed yet: another thread may wait on it, and is to see its end.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap(self) -> bool:
        """Whether it has ended; its descriptors are closed then."""
        if self.pidfd is None:
            if self._fate is None:
                return False
        else:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            if not poll.poll(0):
                return False
            os.close(self.pidfd)
            self.pidfd = None
        self._socket.close()
        return True

    def _start(self) -> wire.Answer | None:
        """Wait for the first frame; the answer in it is a refusal to serve."""
        if self._serial != wire.READY:
            return None
        ready = self._receive(time.monotonic() + _START_SECONDS)
        if ready is None:
            raise ChildDied(f"the {self.kind} lane was not ready within {_START_SECONDS:g} s")
        return ready.answers[0] if ready.answers else None

    def _send(self, data: bytes, until: float) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                if not self._wait(select.POLLOUT, until):
                    raise ChildDied(f"the {self.kind} lane does not read") from None
            except OSError as error:
                raise _HungUp(f" ({error.strerror})") from None

    def _receive(self, until: float) -> wire.Reply | None:
        try:
            while missing := self._reader.missing():
                try:
                    piece = self._socket.recv(max(missing, 2**16))
                except BlockingIOError:
                    if not self._wait(select.POLLIN, until):
                        return None
                    continue
                if not piece:
                    raise _HungUp
                self._reader.feed(piece)
            reply = wire.decode_reply(self._reader.take())
        except OSError as error:
            raise _HungUp(f" ({error.strerror})") from None
        except wire.ProtocolError as error:
            raise ChildDied(f"the {self.kind} lane does not speak the protocol: {error}") from None
        if reply.serial != self._serial:
            raise ChildDied(f"the {self.kind} lane answered another question")
        return reply

    def _wait(self, events: int, until: float) -> bool:
        fd = self._socket.fileno()
        if fd < 0:
            raise OSError(errno.EBADF, "it was closed meanwhile")
        poll = select.poll()
        poll.register(fd, events)
        remaining = until - time.monotonic()
        return bool(poll.poll(max(0.0, remaining) * 1000))

    def _epitaph(self, hung_up: _HungUp) -> str:
        # Its end is told at once, unless somebody stopped the nursery.
        if self._has_fate.wait(_FATE_SECONDS):
            return f"the {self.kind} lane {self._fate}"
        return f"the {self.kind} lane hung up{hung_up}"

# SPDX-License-Identifier: Apache-2.0
"""One lane process from its parent's side: start it, ask it with a deadline, end it."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time

import msgspec

from nova_diskaudit.lane import wire
from nova_diskaudit.lane.operations import Kind

# What libvirt's client library itself looks at; nothing else passes from our environment.
_ENVIRONMENT = ("HOME", "PATH", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TZ")
_START_SECONDS = 30.0

#: what a child runs, before its kind and URI; -I keeps out the current directory and PYTHON*
COMMAND: tuple[str, ...] = (sys.executable, "-I", "-m", "nova_diskaudit.lane")


class ChildDied(Exception):
    """It ended, or broke the protocol; the text says which."""


class Child:
    """A lane process with at most one request on its way.

    Must be made in a thread that lives as long as the child may: the kernel kills the child when
    the thread that started it ends, not the process (prctl(2), ``PR_SET_PDEATHSIG``).
    """

    def __init__(self, kind: Kind, uri: str) -> None:
        self.kind = kind
        self._serial = wire.READY
        self._reader = wire.FrameReader()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*COMMAND, kind, uri],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # Its own session: what is typed on our terminal is not for it.
                    start_new_session=True,
                    env=_environment(),
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._socket = ours

    @property
    def pid(self) -> int:
        """Its process id; ours until :meth:`reap` returned true."""
        return self._process.pid

    def fileno(self) -> int:
        """The descriptor that becomes readable when a reply arrives."""
        return self._socket.fileno()

    def ask(self, operation: str, arguments: msgspec.Raw, seconds: float) -> wire.Reply | None:
        """The reply; None when it does not arrive in time, and then :meth:`late_reply` has it.

        The time to start the child is not counted.

        :raises ChildDied: when the child cannot answer any more.
        """
        ready = self._start()
        if ready is not None:
            return ready
        until = time.monotonic() + seconds
        self._serial += 1
        request = wire.frame(wire.Request(self._serial, operation, arguments))
        self._send(request, until)
        return self._receive(until)

    def late_reply(self) -> wire.Reply | None:
        """What has arrived since :meth:`ask` gave up; None when it is not yet whole.

        :raises ChildDied: when the child cannot answer any more.
        """
        return self._receive(time.monotonic())

    def is_usable(self) -> bool:
        """Whether it lives and nothing unexpected waits to be read."""
        if self._serial == wire.READY:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def kill(self) -> None:
        """End it. A process that waits for storage in the kernel dies only afterwards."""
        # Not closed yet: another thread may wait on it, and is to see its end.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._process.kill()

    def reap(self) -> bool:
        """Whether it has ended; it is no zombie then."""
        if self._process.poll() is None:
            return False
        self._socket.close()
        return True

    def _start(self) -> wire.Reply | None:
        """Wait for the first frame; it is returned only when it refuses to serve."""
        if self._serial != wire.READY:
            return None
        ready = self._receive(time.monotonic() + _START_SECONDS)
        if ready is None:
            raise ChildDied(f"the {self.kind} lane was not ready within {_START_SECONDS:g} s")
        return ready if ready.code is not None else None

    def _send(self, data: bytes, until: float) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                if not self._wait(select.POLLOUT, until):
                    raise ChildDied(f"the {self.kind} lane does not read") from None
            except OSError as error:
                raise ChildDied(self._epitaph(error)) from None

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
                    raise ChildDied(self._epitaph(None))
                self._reader.feed(piece)
            reply = wire.decode_reply(self._reader.take())
        except OSError as error:
            raise ChildDied(self._epitaph(error)) from None
        except wire.ProtocolError as error:
            raise ChildDied(f"the {self.kind} lane does not speak the protocol: {error}") from None
        if reply.serial != self._serial:
            raise ChildDied(f"the {self.kind} lane answered another question")
        return reply

    def _wait(self, events: int, until: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, events)
        remaining = until - time.monotonic()
        return bool(poll.poll(max(0.0, remaining) * 1000))

    def _epitaph(self, error: OSError | None) -> str:
        # It has closed its end, so its status follows at once, unless somebody stopped it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        status = self._process.returncode
        if status is None:
            return f"the {self.kind} lane hung up" + (f" ({error.strerror})" if error else "")
        if status < 0:
            return f"the {self.kind} lane was killed by signal {-status}"
        if self._serial == wire.READY:
            # Its own words went to /dev/null; nearly always the import failed.
            return (
                f"the {self.kind} lane did not start (status {status}): "
                f"is nova_diskaudit installed for {sys.executable}?"
            )
        return f"the {self.kind} lane ended with status {status}"


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("LIBVIRT_")}
    # The messages of libvirt's client library are read, so they must not be translated.
    return kept | {"LC_ALL": "C.UTF-8"}

# SPDX-License-Identifier: Apache-2.0
"""The nursery from its parent's side: the one process that every lane is forked from."""

from __future__ import annotations

import collections
import contextlib
import os
import select
import socket
import subprocess
import sys
import time

from nova_diskaudit.lane import births, wire
from nova_diskaudit.lane.child import Child
from nova_diskaudit.lane.operations import Kind

# What libvirt's client library itself looks at; nothing else passes from our environment.
_ENVIRONMENT = ("HOME", "PATH", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TZ")
# A cold start on a busy host included; a fork by itself takes milliseconds.
_ANSWER_SECONDS = 30.0

#: what the nursery runs, before the URI; -I keeps out the current directory and PYTHON*
COMMAND: tuple[str, ...] = (sys.executable, "-I", "-m", "nova_diskaudit.lane")


class Nursery:
    """Starts children, and knows which of them have ended, and how.

    Nothing here waits for the nursery, so that children can be wanted while it still imports. To
    be used by one thread, which lives as long as the children may: the kernel kills the nursery
    when the thread that started it ends (prctl(2), ``PR_SET_PDEATHSIG``), and every child with it.

    :raises OSError: when the system has no room for it. Linux 5.3 is needed, for pidfds.
    """

    def __init__(self, uri: str) -> None:
        self._unborn: collections.deque[tuple[Child, float]] = collections.deque()
        self._born: dict[int, Child] = {}
        self._has_answered = False
        self._given_up: str | None = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            with theirs:
                self._process = subprocess.Popen(
                    [*COMMAND, uri],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # Its own session: what is typed on our terminal is not for it.
                    start_new_session=True,
                    env=_environment(),
                )
            undo.callback(self._process.wait)
            undo.callback(self._process.kill)
            self.pidfd = os.pidfd_open(self._process.pid)
            undo.pop_all()
        ours.setblocking(False)
        self._socket = ours

    @property
    def pid(self) -> int:
        """Its process id; ours until :meth:`bury` returned true."""
        return self._process.pid

    @property
    def is_starting(self) -> bool:
        """Whether no child can be born yet."""
        return not self._has_answered

    def is_usable(self) -> bool:
        """Whether it can be asked for children."""
        poll = select.poll()
        poll.register(self._socket, 0)
        return self._given_up is None and not poll.poll(0)

    def await_end(self, seconds: float) -> bool:
        """Wait for its end at most so long; whether it has ended."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def fileno(self) -> int:
        """The descriptor that becomes readable when it tells something. ``pidfd`` becomes
        readable when it has ended.
        """
        return self._socket.fileno()

    def child(self, kind: Kind) -> Child:
        """A child that is about to be born.

        :raises OSError: when the system has no room for one, or the nursery has ended.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                births.send(self._socket, births.Wish(kind), theirs.fileno())
            except BaseException:
                ours.close()
                raise
        child = Child(kind, ours)
        self._unborn.append((child, time.monotonic() + _ANSWER_SECONDS))
        return child

    def hear(self) -> bool:
        """Take in what it told; false when it can tell nothing any more."""
        try:
            while (told := births.receive_word(self._socket)) is not None:
                self._take_in(*told)
        except BlockingIOError:
            return True
        except wire.ProtocolError as error:
            self.give_up(f"does not speak the protocol: {error}")
        except ConnectionResetError:  # it ended, and has left wishes unread
            pass
        return False

    def _take_in(self, word: births.Word, pidfd: int | None) -> None:
        self._has_answered = True
        if isinstance(word, births.Ended):
            child = self._born.pop(word.pid, None)
            if child is not None:
                child.ended(_fate(word.status))
            return
        if not self._unborn:
            if pidfd is not None:
                os.close(pidfd)
            raise wire.ProtocolError("a child that nobody wanted")
        child, _ = self._unborn.popleft()
        if isinstance(word, births.Unborn):
            child.ended(f"cannot be started: {word.reason}")
            return
        assert pidfd is not None
        child.born(word.pid, pidfd)
        self._born[word.pid] = child

    def answers_until(self) -> float | None:
        """When it has to be given up (on the monotonic clock), unless it answers before."""
        return self._unborn[0][1] if self._unborn else None

    def give_up_if_silent(self) -> None:
        """Kill it, and its children, when it has not answered for too long."""
        until = self.answers_until()
        if until is not None and time.monotonic() >= until:
            self.give_up(f"has not answered for {_ANSWER_SECONDS:g} s")

    def give_up(self, why: str) -> None:
        """Kill it, and its children: to be buried later. ``why`` is what they say they died of."""
        self._given_up = self._given_up or why
        self._process.kill()
        # Callers see the end at once, even when the processes take their time.
        while self._unborn:
            self._tell(self._unborn.popleft()[0])
        for child in self._born.values():
            child.kill()

    def bury(self) -> bool:
        """Whether it has ended; it is no zombie then, and its children are dead or dying."""
        if self._process.poll() is None:
            return False
        self.hear()
        for child in (*(child for child, _ in self._unborn), *self._born.values()):
            self._tell(child)
        self._unborn.clear()
        self._born.clear()
        self._socket.close()
        os.close(self.pidfd)
        return True

    def close(self, seconds: float) -> None:
        """Have it end, and wait for that at most so long; then it is killed."""
        if self._unborn:
            self._process.kill()
        with contextlib.suppress(OSError):  # gone already
            self._socket.shutdown(socket.SHUT_WR)
        if not self.await_end(seconds):
            self._process.kill()
        # Nothing can hang in it, so this is soon.
        self._process.wait()
        self.bury()

    def _tell(self, child: Child) -> None:
        status = self._process.poll()
        if self._given_up is not None:
            child.ended(f"died with the nursery, which {self._given_up}")
        elif status is not None and status >= 0 and not self._has_answered:
            # Its own words went to /dev/null; nearly always the import failed.
            child.ended(
                f"did not start (status {status}): "
                f"is nova_diskaudit installed for {sys.executable}?"
            )
        else:
            child.ended(f"died with the nursery, which {_fate(status or 0)}")


def _fate(status: int) -> str:
    if status < 0:
        return f"was killed by signal {-status}"
    return f"ended with status {status}"


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("LIBVIRT_")}
    # The messages of libvirt's client library are read, so they must not be translated.
    return kept | {"LC_ALL": "C.UTF-8"}

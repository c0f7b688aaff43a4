# SPDX-License-Identifier: Apache-2.0
"""The nursery itself: imports once what lanes need, and forks a lane whenever one is wanted.

It opens no connection, has one thread, and runs no loop of libvirt's, so that forking is safe at
any time, and lanes share the memory of what was imported. It reads nothing but wishes, so nothing
hostile reaches it, and it keeps no socket of any lane.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket

from nova_diskaudit.lane import births, worker


def main(uri: str) -> None:
    """Fork lanes to this hypervisor, as wished on the socket that is standard input, until it ends.

    :raises wire.ProtocolError: when the other side does not speak the protocol.
    """
    # Objects that the collector visits or moves are pages that a lane has to itself.
    gc.disable()
    worker.die_with_parent()
    worker.name_process("lane-nursery")
    # Ctrl-C on the terminal is for the parent, which then ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    os.chdir("/")
    worker.preload()
    gc.collect()
    gc.freeze()
    _serve(uri, control)


def _serve(uri: str, control: socket.socket) -> None:
    children: dict[int, int] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd != control.fileno():
                poll.unregister(fd)
                os.close(fd)
                pid = children.pop(fd)
                _, status = os.waitpid(pid, 0)
                ended = births.Ended(pid, os.waitstatus_to_exitcode(status))
                births.send(control, ended, None)
                continue
            received = births.receive_wish(control)
            if received is None:
                # Our parent has killed them before; who hangs in the kernel is left to it.
                with contextlib.suppress(ChildProcessError):
                    while os.waitpid(-1, os.WNOHANG)[0]:
                        pass
                return
            wish, end = received
            try:
                pid, pidfd = _fork(wish.kind, uri, end, control)
            except OSError as error:
                births.send(control, births.unborn(error), None)
                continue
            finally:
                os.close(end)
            children[pidfd] = pid
            poll.register(pidfd, select.POLLIN)
            births.send(control, births.Born(pid), pidfd)


def _fork(kind: str, uri: str, end: int, control: socket.socket) -> tuple[int, int]:
    """The child's process id, and its pidfd."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # The number is about to be the child's own socket's.
            control.detach()
            worker.main(kind, uri, end, parent)
            status = 0
        finally:
            os._exit(status)
    try:
        return pid, os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise

# SPDX-License-Identifier: Apache-2.0
"""QEMU processes as ``/proc`` shows them: which domain each runs, and whether it can answer."""

from __future__ import annotations

import os
import re
import time

from nova_diskaudit.facts import Process

_PROC = "/proc"
_MAX_CMDLINE_BYTES = 2**20
_UUID = re.compile(rb"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# The name is qemu-system-<arch>, qemu-kvm or kvm; with set_process_name in libvirt's qemu.conf
# it is qemu:<domain>.
_NAME = re.compile(rb"qemu|kvm")

# A process that waits for ordinary I/O shows D for moments, longer on a busy host; one on dead
# storage keeps it. A third of a second tells them apart.
_LOOKS = 12
_PAUSE_SECONDS = 0.03


def processes() -> dict[str, Process]:
    """The QEMU processes of this host by domain UUID, from ``-uuid`` on their command lines.

    Reading a command line can hang when the process waits for a page with its memory locked, so
    only processes named like a QEMU are read. Of two that claim one UUID the younger is meant.
    """
    found: dict[str, Process] = {}
    for entry in os.listdir(_PROC):
        if not entry.isdigit():
            continue
        try:
            with open(f"{_PROC}/{entry}/comm", "rb", buffering=0) as comm:
                if _NAME.search(comm.read(64)) is None:
                    continue
            with open(f"{_PROC}/{entry}/cmdline", "rb", buffering=0) as cmdline:
                words = _read(cmdline.fileno()).split(b"\0")
            process = Process(pid=int(entry), start_ticks=_stat(int(entry))[1])
        except (OSError, ValueError):
            continue  # it ended, or it is a process of another kind
        uuid = _uuid(words)
        if uuid and (uuid not in found or found[uuid].start_ticks < process.start_ticks):
            found[uuid] = process
    return found


def exists(process: Process) -> bool:
    """Whether this very process still runs, rather than another with its pid."""
    try:
        state, start_ticks = _stat(process.pid)
    except (OSError, ValueError):
        return False
    return start_ticks == process.start_ticks and state not in "ZX"


def why_silent(process: Process) -> str | None:
    """Why this running QEMU would not answer now, in one clause; None when nothing speaks for it.

    Only its main thread is looked at, since that is the one which serves the monitor.
    """
    for look in range(_LOOKS):
        if look:
            time.sleep(_PAUSE_SECONDS)
        try:
            state, _ = _stat(process.pid)
        except (OSError, ValueError):
            return None
        if state in "Tt":
            return f"QEMU (pid {process.pid}) is stopped"
        if state != "D":
            return None
    return f"QEMU (pid {process.pid}) waits for storage (state D)"


def _stat(pid: int) -> tuple[str, int]:
    """(state, start time in ticks since boot): fields 3 and 22 of ``/proc/PID/stat``."""
    with open(f"{_PROC}/{pid}/stat", "rb", buffering=0) as stat:
        # The second field is the name in parentheses, which may itself contain anything.
        fields = stat.read(4096).rpartition(b")")[2].split()
    if len(fields) < 20:
        raise ValueError("not the form of /proc/PID/stat")
    return fields[0].decode("ascii"), int(fields[19])


def _uuid(words: list[bytes]) -> str | None:
    try:
        uuid = words[words.index(b"-uuid") + 1]
    except (ValueError, IndexError):
        return None
    return uuid.decode("ascii").lower() if _UUID.fullmatch(uuid) else None


def _read(fd: int) -> bytes:
    """A file of /proc, which gives at most a page or so at a time."""
    parts = []
    size = 0
    while size < _MAX_CMDLINE_BYTES:
        part = os.read(fd, 65536)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)

# SPDX-License-Identifier: Apache-2.0
"""Memory and processor time of a process tree, as the kernel accounts for them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Iterable

_TICKS = os.sysconf("SC_CLK_TCK")


def _fields(pid: int | str) -> list[str]:
    """``/proc/PID/stat`` behind the name: field 3 (state) is the first.

    :raises OSError: when it has ended.
    """
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root: int | None) -> set[int]:
    """A process and its descendants, now; nothing for None."""
    if root is None:
        return set()
    parents: dict[int, int] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(_fields(entry.name)[1])
            except OSError:
                continue
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def command_name(pid: int) -> str:
    """What ``ps`` shows as the command's name; empty for a process that has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def pss_bytes(pids: set[int]) -> int:
    """Proportional set size of some processes, in bytes; one that has ended counts 0."""
    total = 0
    for pid in pids:
        try:
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(
            int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")
        )
    return total


def clock_seconds(pids: Iterable[int]) -> float:
    """Processor time of some processes by the kernel's clock of each, to the nanosecond.

    Their threads that have ended are in it; their children that have ended are not.
    """
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            # clock_getcpuclockid(3): the complement of the pid, and CPUCLOCK_SCHED.
            total += time.clock_gettime((~pid << 3) | 2)
    return total


def cpu_seconds(pids: set[int]) -> float:
    """Processor time of some processes and of all children that they have waited for.

    The kernel keeps it to the nanosecond and tells it in ticks of 10 ms a process. Of a tree
    whose members wait for their children nothing is missing and nothing is counted twice: a
    child's time goes to its parent at the moment at which the child is gone.
    """
    ticks = 0
    for pid in pids:
        try:
            ticks += sum(map(int, _fields(pid)[11:15]))  # utime, stime, cutime, cstime
        except OSError:
            continue
    return ticks / _TICKS

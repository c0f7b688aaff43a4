# SPDX-License-Identifier: Apache-2.0
"""What a peer is: something that looks once at all disks of a hypervisor, and says bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from tests.bench.processes import tree
from tests.lab.hypervisor import Hypervisor

PATIENCE_SECONDS = 300.0

#: the domain's name, and the target of the disk in it
DiskId = tuple[str, str]

#: bytes by the name that the tool itself gives them
Answers = dict[DiskId, dict[str, int]]


class PeerError(RuntimeError):
    """A peer cannot be had on this machine; the message says why, for the table."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """What is looked at: the disks of one hypervisor, and the file or device of each.

    ``uuids`` are those of the domains, by name.
    """

    hypervisor: Hypervisor
    images: Mapping[DiskId, pathlib.Path]
    uuids: Mapping[str, str]

    @property
    def disks(self) -> list[DiskId]:
        return list(self.images)


@dataclasses.dataclass(frozen=True)
class Look:
    """What one look gave, and what it took.

    ``said`` is what the tool printed, as far as it came. ``trouble`` is empty when all was well;
    else it says in a line what went wrong, and ``said`` may be short of something.

    ``seconds`` and ``cpu_seconds`` (None: to be taken from :meth:`Peer.pids`) are those of one
    look; where a look cannot be had alone, ``count`` of them were made in a row, and what others
    spent meanwhile is to be divided by it.
    """

    said: str
    seconds: float
    cpu_seconds: float | None = None
    count: int = 1
    trouble: str = ""


class Peer(Protocol):
    """One tool.

    ``name`` is the table's row. ``held`` are the fields in which its users look for the bytes
    that the storage holds for a disk, ``used`` those for the bytes that the guest's filesystems
    on it use; empty: it was asked, and has no such field.
    """

    name: str
    held: tuple[str, ...]
    used: tuple[str, ...]

    def version(self) -> str:
        """Its release, as the table names it.

        :raises PeerError: when it is not installed.
        """

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        """Get ready to look; what is a service is started, and has looked for the first time.

        :param directory: its own, and empty.
        :raises PeerError: when it cannot.
        """

    def look(self, patience: float = PATIENCE_SECONDS) -> Look:
        """Look once at everything. This is what is measured.

        It ends after so many seconds at the latest, with what was said until then.
        """

    def read(self, said: str) -> Answers:
        """What was said, by disk; of what is cut off, what is whole."""

    def pids(self) -> set[int]:
        """The tool's processes, now."""

    def stop(self) -> None:
        """End what :meth:`start` began, whatever it hangs in."""


def ran(*command: str) -> str:
    """What a command prints that has nothing to do with what is measured.

    :raises PeerError: when it fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise PeerError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def debian_version(package: str) -> str:
    """Name and version of an installed Debian package.

    :raises PeerError: when it is not installed.
    """
    try:
        found = ran("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package)
    except PeerError:
        found = ""
    status, _, version = found.partition(" ")
    if status != "installed":
        raise PeerError(f"Debian's package {package} is not installed")
    return f"{package} {version}"


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it has started, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        for pid in tree(process.pid):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def has_ended(process: subprocess.Popen[bytes], patience: float) -> bool:
    """Whether it ended within so many seconds.

    Told at once: ``Popen.wait`` with a timeout looks every 50 ms only.
    """
    end = os.pidfd_open(process.pid)
    try:
        return bool(select.select([end], [], [], patience)[0])
    finally:
        os.close(end)


class Command:
    """The part that all tools share which look once and end.

    ``command`` is set by ``start``; a status of ``harmless`` is no trouble.
    """

    used: tuple[str, ...] = ()
    harmless: tuple[int, ...] = (0,)
    command: Sequence[str] = ()
    environ: Mapping[str, str] = {}
    _process: subprocess.Popen[bytes] | None = None

    def look(self, patience: float = PATIENCE_SECONDS) -> Look:
        trouble = ""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            before = children_cpu()
            begun = time.monotonic()
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=os.environ | {"LC_ALL": "C"} | dict(self.environ),
            )
            in_time = has_ended(self._process, patience)
            seconds = time.monotonic() - begun
            if not in_time:
                trouble = f"no end within {patience:g} s"
            elif (status := self._process.wait()) not in self.harmless:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().splitlines()
                trouble = f"ended with {status}: {said[-1] if said else ''}"
            self.stop()
            spent = children_cpu() - before
            output.seek(0)
            return Look(output.read().decode(errors="replace"), seconds, spent, 1, trouble)

    def pids(self) -> set[int]:
        return tree(self._process.pid) if self._process is not None else set()

    def stop(self) -> None:
        if self._process is not None:
            end_tree(self._process)
            self._process = None


def children_cpu() -> float:
    """Of all children that were waited for, to the microsecond."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

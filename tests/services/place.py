# SPDX-License-Identifier: Apache-2.0
"""A directory that goes with its run, on a file system of its own when a test wants to fill it.

A run that is killed leaves its directory behind; the next start finds it by its lock, which died
with its owner, and removes it.
"""

import contextlib
import os
import pathlib
import secrets
import shutil
import subprocess
import types
from collections.abc import Mapping
from typing import ClassVar, Self

from tests.lab import lock


class ServiceError(RuntimeError):
    """A server could not be started, or did not do what it was told."""


def root() -> pathlib.Path:
    """Where the directories are made. Short, for the path of a unix socket ends at 107 bytes."""
    given = os.environ.get("NOVA_DISKAUDIT_SERVICES_ROOT")
    return pathlib.Path(given or "/var/tmp/nova-diskaudit-services")


class Place:
    """One such directory, from ``start`` to ``stop``."""

    #: what the directory's name begins with
    NAME: ClassVar[str]
    #: user and group that own it
    OWNER: ClassVar[tuple[int, int]] = (0, 0)

    def __init__(self, *, disk_mib: int | None = None) -> None:
        """:param disk_mib: give the data a file system of this size of its own, to be filled up."""
        self.directory = pathlib.Path()
        self._disk_mib = disk_mib
        self._lock = -1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def data(self) -> pathlib.Path:
        """What may be on the file system of its own."""
        return self.directory / "data"

    def start(self) -> None:
        if self._lock >= 0:
            raise ServiceError(f"{self.directory} is already there")
        if os.geteuid() != 0:
            raise ServiceError("needs root, for file systems and for servers without privileges")
        sweep()
        # It gets its name when it is locked: a sweep by another run takes the rest for left-overs.
        name = f"{self.NAME}-{secrets.token_hex(4)}"
        fresh = root() / f".{name}"
        fresh.mkdir(parents=True, mode=0o755)
        self._lock = lock.take(fresh, make=True)
        self.directory = fresh.rename(root() / name)
        os.chown(self.directory, *self.OWNER)
        self.data.mkdir(mode=0o700)
        if self._disk_mib is not None:
            options = f"size={self._disk_mib}m,mode=700"
            run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.data))
        os.chown(self.data, *self.OWNER)

    def stop(self) -> None:
        """Remove it."""
        if self._lock >= 0:
            _remove(self.directory)
            os.close(self._lock)
            self._lock = -1

    def fill_disk(self) -> None:
        """Leave not a byte free on the file system that ``disk_mib`` made."""
        assert self._disk_mib is not None, "made without disk_mib"
        filler = os.open(self.data / "filler", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            for size in (2**20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        os.write(filler, b"\0" * size)
        finally:
            os.close(filler)

    def free_disk(self) -> None:
        """Take back what ``fill_disk`` did."""
        (self.data / "filler").unlink()


def run(*command: str, environ: Mapping[str, str] | None = None) -> str:
    """Run a command to its end, and return what it prints.

    :raises ServiceError: when it fails, with what it said.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=os.environ | {"LC_ALL": "C.UTF-8"} | (environ or {}),
    )
    if done.returncode:
        raise ServiceError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def sweep() -> None:
    """Remove the directories that killed runs have left behind."""
    if not root().is_dir():
        return
    for directory in root().glob("[!.]*"):
        held = lock.take(directory, make=False)
        if held >= 0:
            _remove(directory)
            os.close(held)


def _remove(directory: pathlib.Path) -> None:
    """Unmount and remove. The caller holds the lock, and no process is left."""
    data = directory / "data"
    if data.is_mount():
        run("umount", "--lazy", str(data))
    shutil.rmtree(directory)

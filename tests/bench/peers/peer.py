# SPDX-License-Identifier: Apache-2.0
"""What a peer is: something that looks once at all disks of a hypervisor, and says bytes."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Protocol

PATIENCE_SECONDS = 300.0

#: (domain's name, target of the disk): bytes by the name that the tool itself gives them
Answers = dict[tuple[str, str], dict[str, int]]


class PeerError(RuntimeError):
    """A peer could not be run, or said what cannot be read."""


class Peer(Protocol):
    """One tool. ``held`` are the fields in which its users look for the bytes held by a disk.

    Empty ``held``: it was asked, and has no such field.
    """

    name: str
    held: tuple[str, ...]

    def version(self) -> str:
        """Its release, as the table names it."""

    def start(self, uri: str, disks: Sequence[tuple[str, str]], directory: pathlib.Path) -> None:
        """Get ready to look at these disks; what is a service is started. Not measured.

        :raises PeerError: when it cannot.
        """

    def look(self) -> str:
        """Look once at everything, and return what the tool said. This is what is measured.

        :raises PeerError: when it failed or took more than five minutes.
        """

    def read(self, said: str) -> Answers:
        """What was said, by disk. Not measured."""

    def stop(self) -> None:
        """End what :meth:`start` began."""


def run(*command: str, environ: dict[str, str] | None = None) -> str:
    """Run a command of a peer to its end, and return what it prints.

    :raises PeerError: as :meth:`Peer.look`.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
            env=os.environ | {"LC_ALL": "C"} | (environ or {}),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise PeerError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:].strip()}")
    return done.stdout


def debian_version(package: str) -> str:
    """The version of an installed Debian package."""
    return f"{package} {run('dpkg-query', '-W', '-f', '${Version}', package)}"


class Once:
    """The part that all commands share which look once and end; ``_command`` is set by start."""

    _command: tuple[str, ...] = ()

    def look(self) -> str:
        return run(*self._command)

    def stop(self) -> None:
        """Nothing runs between looks."""

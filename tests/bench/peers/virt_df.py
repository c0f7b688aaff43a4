# SPDX-License-Identifier: Apache-2.0
"""``virt-df`` of libguestfs: it boots an appliance on the disks of guests, and asks its kernel.

Debian's ``guestfs-tools`` draws in ninety packages, so it is no requirement of the tests
(``tools/prepare bench`` installs it). The appliance needs a kernel, which a container has not: it
gets that of the lab's guests.
"""

from __future__ import annotations

import contextlib
import csv
import pathlib
import string
import subprocess
from collections.abc import Sequence

from tests.bench.peers.peer import (
    PATIENCE_SECONDS,
    Answers,
    Command,
    Look,
    PeerError,
    Scene,
    debian_version,
)
from tests.lab import chroot, guest_image

# An emulated appliance takes half a minute on a quiet machine; the others wait for it.
_PATIENCE_SECONDS = 120.0


class VirtDf(Command):
    """A few guests, one after the other, in one process."""

    name = "virt-df"
    held: tuple[str, ...] = ()
    used = ("Used",)

    def __init__(self, domains: Sequence[str]) -> None:
        """:param domains: those that are looked at; they are shut off."""
        self._domains = domains

    def version(self) -> str:
        return debian_version("guestfs-tools")

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        try:
            kernel, modules = _kernel()
        except (OSError, subprocess.CalledProcessError) as error:
            raise PeerError(f"no kernel for the appliance: {error}") from None
        # supermin lists this directory, whether it takes a kernel from there or not.
        pathlib.Path("/lib/modules").mkdir(exist_ok=True)
        appliance = chroot.cache() / "virt-df"
        appliance.mkdir(exist_ok=True)
        self.environ = {
            "SUPERMIN_KERNEL": str(kernel),
            "SUPERMIN_MODULES": str(modules),
            "LIBGUESTFS_BACKEND": "direct",
            "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg",
            "LIBGUESTFS_CACHEDIR": str(appliance),
        }
        self._targets: dict[str, list[str]] = {}
        for domain, target in scene.disks:
            self._targets.setdefault(domain, []).append(target)
        words = [word for domain in self._domains for word in ("-d", domain)]
        connect = ("--connect", scene.hypervisor.uri_readonly)
        self.command = ("virt-df", "--csv", *connect, *words)
        if not any(appliance.iterdir()):
            self.look(PATIENCE_SECONDS)  # builds the appliance, which takes longer than a look

    def look(self, patience: float = _PATIENCE_SECONDS) -> Look:
        return super().look(patience)

    def read(self, said: str) -> Answers:
        found: Answers = {}
        for row in csv.DictReader(said.splitlines()):
            with contextlib.suppress(KeyError, ValueError, IndexError, TypeError):
                letter = row["Filesystem"].removeprefix("/dev/sd")[0]
                target = self._targets[row["VirtualMachine"]][string.ascii_lowercase.index(letter)]
                fields = found.setdefault((row["VirtualMachine"], target), {"Used": 0})
                fields["Used"] += int(row["Used"]) * 1024
        return found


def _kernel() -> tuple[pathlib.Path, pathlib.Path]:
    """The lab's kernel, and the directory of all its modules."""
    with chroot.cached("virt-df-kernel") as path:
        if not path.is_dir():
            guest_image.unpack_kernel(path)
    modules = next((path / "lib/modules").iterdir())
    return path / f"boot/vmlinuz-{modules.name}", modules

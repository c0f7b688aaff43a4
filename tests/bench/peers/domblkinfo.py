# SPDX-License-Identifier: Apache-2.0
"""``virsh domblkinfo DOMAIN --all``, domain by domain in one ``virsh``: a script's way."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from tests.bench.peers.peer import Answers, Once, PeerError, debian_version


class Domblkinfo(Once):
    """One process, one call of libvirt for each disk."""

    name = "virsh domblkinfo"
    held = ("Allocation", "Physical")

    def version(self) -> str:
        return debian_version("libvirt-clients")

    def start(self, uri: str, disks: Sequence[tuple[str, str]], directory: pathlib.Path) -> None:
        self._disks = list(disks)
        asked = "; ".join(f"domblkinfo {domain} {target}" for domain, target in self._disks)
        self._command = ("virsh", "--readonly", "--connect", uri, asked)

    def read(self, said: str) -> Answers:
        blocks = [block for block in said.split("\n\n") if block.strip()]
        if len(blocks) != len(self._disks):
            raise PeerError(f"virsh told of {len(blocks)} disks of {len(self._disks)}")
        found: Answers = {}
        for disk, block in zip(self._disks, blocks, strict=True):
            pairs = (line.partition(":") for line in block.strip().splitlines())
            found[disk] = {name.strip(): int(value) for name, _, value in pairs}
        return found

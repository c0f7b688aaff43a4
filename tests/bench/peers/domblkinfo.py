# SPDX-License-Identifier: Apache-2.0
"""``virsh domblkinfo`` of every disk, in one ``virsh``: a careful script's way."""

from __future__ import annotations

import pathlib

from tests.bench.peers.peer import Answers, Command, Scene, debian_version

_MARK = "disk "


class Domblkinfo(Command):
    """One process, one call of libvirt for each disk; the fields are virsh's.

    What failed is told on stderr, and virsh goes on with the next.
    """

    name = "virsh domblkinfo"
    held = ("Allocation", "Physical")

    def version(self) -> str:
        return debian_version("libvirt-clients")

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        asked = (
            f"echo {_MARK}{domain} {target}; domblkinfo {domain} {target}"
            for domain, target in scene.disks
        )
        uri = scene.hypervisor.uri_readonly
        self.command = ("virsh", "--readonly", "--connect", uri, "; ".join(asked))

    def read(self, said: str) -> Answers:
        found: Answers = {}
        fields: dict[str, int] = {}
        for line in said.splitlines():
            name, colon, value = line.partition(":")
            if line.startswith(_MARK):
                domain, target = line.removeprefix(_MARK).split()
                fields = found[domain, target] = {}
            elif colon and value.strip().isdecimal():
                fields[name] = int(value)
        return {disk: fields for disk, fields in found.items() if fields}

# SPDX-License-Identifier: Apache-2.0
"""``virsh guestinfo DOMAIN --filesystem``, domain by domain in one ``virsh``: a script's way.

The only peer of the hang table that asks guests, because those which do so in production are
parts of other clouds' products.
"""

from __future__ import annotations

import pathlib
import re

from tests.bench.peers.peer import Answers, Command, Scene, debian_version

_LINE = re.compile(r"fs\.(\d+)\.(used-bytes|disk\.\d+\.alias)\s*: (.+)")
_BEGIN = "domain "


class Guestinfo(Command):
    """One process; one or two commands of each guest's agent, without a limit of its own."""

    name = "virsh guestinfo"
    held = ()
    used = ("fs.used-bytes",)
    # What is the last domain's: one without an agent is no trouble.
    harmless = (0, 1)

    def version(self) -> str:
        return debian_version("libvirt-clients")

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        names = dict.fromkeys(domain for domain, _ in scene.disks)
        asked = "; ".join(f"echo {_BEGIN}{name}; guestinfo {name} --filesystem" for name in names)
        self.command = ("virsh", "--connect", scene.hypervisor.uri, asked)

    def read(self, said: str) -> Answers:
        found: Answers = {}
        for part in said.split(_BEGIN)[1:]:
            name, *lines = part.splitlines()
            used: dict[str, int] = {}
            targets: dict[str, str] = {}
            for line in lines:
                if told := _LINE.match(line.strip()):
                    number, field, value = told.groups()
                    if field == "used-bytes":
                        used[number] = int(value)
                    else:
                        targets[number] = value
            for number, target in targets.items():
                if number in used:
                    found.setdefault((name, target), {"fs.used-bytes": 0})
                    found[name, target]["fs.used-bytes"] += used[number]
        return found

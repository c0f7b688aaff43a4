# SPDX-License-Identifier: Apache-2.0
"""Bare ``getAllDomainStats(BLOCK)``: what exporters in the manner of Telegraf's input call.

This module is also the process that is measured: ``python -m tests.bench.peers.bulk URI``.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Sequence

import libvirt

from tests.bench.peers.peer import Answers, Once


class Bulk(Once):
    """One call for everything. The names of the fields are libvirt's."""

    name = "getAllDomainStats(BLOCK)"
    held = ("allocation", "physical")

    def version(self) -> str:
        return f"libvirt-python {libvirt.__version__}"

    def start(self, uri: str, disks: Sequence[tuple[str, str]], directory: pathlib.Path) -> None:
        self._command = (sys.executable, "-m", __name__, uri)

    def read(self, said: str) -> Answers:
        found: Answers = {}
        for domain, stats in json.loads(said):
            for number in range(stats.get("block.count", 0)):
                fields = {
                    name: stats[key]
                    for name in (*self.held, "capacity")
                    if (key := f"block.{number}.{name}") in stats
                }
                found[domain, stats[f"block.{number}.name"]] = fields
        return found


def main() -> None:
    """Ask once, and print the answer as JSON."""
    connection = libvirt.openReadOnly(sys.argv[1])
    stats = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BLOCK)
    json.dump([(domain.name(), told) for domain, told in stats], sys.stdout)


if __name__ == "__main__":
    main()

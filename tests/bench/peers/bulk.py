# SPDX-License-Identifier: Apache-2.0
"""Bare ``getAllDomainStats(BLOCK)``: what exporters in the manner of Telegraf's input call.

This module is also the process that is measured: ``python -m tests.bench.peers.bulk URI``. It is a
service, as those exporters are: it looks once for each line of its standard input, over one
connection.
"""

from __future__ import annotations

import json
import pathlib
import sys
from importlib import metadata

import libvirt

from tests.bench.peers.peer import Answers, Scene
from tests.bench.peers.told import Told


class Bulk(Told):
    """One call for everything. The names of the fields are libvirt's."""

    name = "getAllDomainStats(BLOCK)"
    held = ("allocation", "physical")

    def version(self) -> str:
        return f"libvirt-python {metadata.version('libvirt-python')}"

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        self.begin([sys.executable, "-m", __name__, scene.hypervisor.uri_readonly], directory)

    def read(self, said: str) -> Answers:
        found: Answers = {}
        for line in said.splitlines():
            for domain, stats in json.loads(line):
                for number in range(stats.get("block.count", 0)):
                    fields = {
                        name: stats[key]
                        for name in (*self.held, "capacity")
                        if (key := f"block.{number}.{name}") in stats
                    }
                    found[domain, stats[f"block.{number}.name"]] = fields
        return found


def main() -> None:
    """Look once for each line, and print the answer as one line of JSON and an empty line."""
    connection = libvirt.openReadOnly(sys.argv[1])
    for _ in sys.stdin:
        stats = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BLOCK)
        print(json.dumps([(domain.name(), told) for domain, told in stats]), end="\n\n", flush=True)


if __name__ == "__main__":
    main()

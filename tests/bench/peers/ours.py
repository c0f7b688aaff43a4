# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit audit`` of this tree, as an operator runs it: a whole process each time."""

from __future__ import annotations

import json
import os
import pathlib
import sys
from collections.abc import Sequence

from tests.bench.peers.peer import Answers, Once, run

_TOOL = os.path.join(os.path.dirname(sys.executable), "nova-diskaudit")


class Audit(Once):
    """Host facts and libvirt's evidence; guests are not asked, which no peer here does either."""

    name = "nova-diskaudit audit --no-guest"
    held = ("host_allocated_bytes",)

    def version(self) -> str:
        return run(_TOOL, "--version").strip()

    def start(self, uri: str, disks: Sequence[tuple[str, str]], directory: pathlib.Path) -> None:
        self._command = (_TOOL, "audit", "--connect", uri, "--no-guest", "--format", "json")

    def read(self, said: str) -> Answers:
        return {
            (instance["domain"], disk["target"]): {
                field: disk[field] for field in self.held if disk[field] is not None
            }
            for instance in json.loads(said)["instances"]
            for disk in instance["disks"]
        }

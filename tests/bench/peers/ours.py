# SPDX-License-Identifier: Apache-2.0
"""Ours: ``nova-diskaudit audit`` of this tree, a whole process each time, and the agent's cycles."""

from __future__ import annotations

import json
import os
import pathlib
import sys
from typing import Any

from tests.bench.peers.peer import Answers, Command, Scene, ran

_TOOL = os.path.join(os.path.dirname(sys.executable), "nova-diskaudit")


def version() -> str:
    """That of this tree, as pbr counts it from git."""
    return ran(_TOOL, "--version").strip()


def _answers(instances: list[dict[str, Any]]) -> Answers:
    return {
        (instance["domain"], disk["target"]): {
            field: disk[field]
            for field in ("host_allocated_bytes", "guest_used_bytes")
            if disk[field] is not None
        }
        for instance in instances
        for disk in instance["disks"]
    }


class Audit(Command):
    """The command as an operator runs it, with or without the guests."""

    held = ("host_allocated_bytes",)
    harmless = (0, 1)  # 1: some instance could not be audited, and is listed with the reason

    def __init__(self, *, guests: bool) -> None:
        self.name = "nova-diskaudit audit" + ("" if guests else " --no-guest")
        self.used = ("guest_used_bytes",) if guests else ()
        self._options = () if guests else ("--no-guest",)

    def version(self) -> str:
        return version()

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        uri = scene.hypervisor.uri
        self.command = (_TOOL, "audit", "--connect", uri, *self._options, "--format", "json")

    def read(self, said: str) -> Answers:
        return _answers(json.loads(said)["instances"]) if said else {}

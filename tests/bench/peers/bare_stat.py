# SPDX-License-Identifier: Apache-2.0
"""Bare ``stat`` of every image by a caller who knows all paths: the floor of what a look costs.

It is right by construction, for the truth is the same number; it knows no domain.
"""

from __future__ import annotations

import pathlib

from tests.bench.peers.peer import Answers, Command, Scene, debian_version


class Stat(Command):
    """``stat(1)`` of all files in one process."""

    name = "stat of every file"
    held = ("blocks",)

    def version(self) -> str:
        return debian_version("coreutils")

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        self._disks = scene.disks
        paths = (str(scene.images[disk]) for disk in self._disks)
        self.command = ("stat", "--format=%b %B", "--", *paths)

    def read(self, said: str) -> Answers:
        lines = [list(map(int, line.split())) for line in said.splitlines()]
        return {
            disk: {"blocks": count * size}
            for disk, (count, size) in zip(self._disks, lines, strict=False)
        }

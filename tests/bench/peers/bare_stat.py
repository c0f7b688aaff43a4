# SPDX-License-Identifier: Apache-2.0
"""Bare ``stat`` of every image by a caller who knows all paths: the floor of what a look costs.

It is right by construction, for the truth here is the same number; it knows no domain.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from tests.bench.peers.peer import Answers, Once, debian_version


class Stat(Once):
    """``stat(1)`` of all files in one process."""

    name = "stat"
    held = ("blocks",)

    def __init__(self, images: dict[tuple[str, str], pathlib.Path]) -> None:
        self._images = images

    def version(self) -> str:
        return debian_version("coreutils")

    def start(self, uri: str, disks: Sequence[tuple[str, str]], directory: pathlib.Path) -> None:
        self._disks = list(disks)
        paths = (str(self._images[disk]) for disk in self._disks)
        self._command = ("stat", "--format=%b %B", "--", *paths)

    def read(self, said: str) -> Answers:
        lines = [list(map(int, line.split())) for line in said.splitlines()]
        return {
            disk: {"blocks": count * size}
            for disk, (count, size) in zip(self._disks, lines, strict=True)
        }

# SPDX-License-Identifier: Apache-2.0
"""Where a path of the domain XML is found, when libvirt sees other mounts than we do. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def mapped(path: str, path_map: Iterable[tuple[str, str]]) -> str:
    """The path with its prefix replaced by the first pair that fits, at a slash; else itself."""
    for prefix, replacement in path_map:
        stem = prefix.rstrip("/")
        if path == prefix or path.startswith(f"{stem}/"):
            return replacement.rstrip("/") + path[len(stem) :]
    return path

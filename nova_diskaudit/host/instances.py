# SPDX-License-Identifier: Apache-2.0
"""What lies in Nova's instances directory beside the disks that libvirt knows."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

from nova_diskaudit.facts import InstancesDirectory
from nova_diskaudit.host.errors import HostError
from nova_diskaudit.record import Leftover

MAX_ENTRIES = 100_000
MAX_DEPTH = 6
MAX_LEFTOVERS = 1000
_MAX_NAME_CHARACTERS = 255

# What Nova itself keeps there (nova/virt/libvirt, nova/utils.py; 2026).
_IMAGE_CACHE = "_base"
# Stays when the first snapshot is over, empty; what lies in it is of one that runs or broke off.
_SNAPSHOTS = "snapshots"
_NOT_INSTANCES = frozenset({_IMAGE_CACHE, "locks", "compute_nodes", "compute_id", "lost+found"})
_UUID_NAME = re.compile(r"(?P<uuid>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})(?P<suffix>.*)", re.S)


class _Budget:
    """Entries that may still be looked at, over the whole scan."""

    def __init__(self, entries: int) -> None:
        self.left = entries


def instances_directory(path: str, known_uuids: Collection[str]) -> InstancesDirectory:
    """The image cache, and what belongs to no domain of ``known_uuids``.

    A directory named by a UUID with a suffix (``_resize``, ``_del``) is a left-over even when
    the instance is known: its disks are in the directory without suffix. When nothing is named
    by a UUID and there is no image cache, this is no instances directory, and nothing in it is
    called a left-over. Symlinks are counted, not followed; other filesystems are not entered.

    :raises HostError: ``file-missing``, ``permission-denied`` or ``storage-error``.
    """
    budget = _Budget(MAX_ENTRIES)
    try:
        with os.scandir(path) as scan:
            names = _names(scan, budget)
    except FileNotFoundError:
        raise HostError("file-missing", f"{path!r} is not there") from None
    except PermissionError:
        raise HostError("permission-denied", f"{path!r} may not be listed") from None
    except OSError as error:
        raise HostError("storage-error", f"{path!r}: {error.strerror}") from None
    complete = budget.left > 0
    cache = None
    if _IMAGE_CACHE in names:
        cache = _allocated(os.path.join(path, _IMAGE_CACHE), budget)
    strangers = [name for name in names if _is_stranger(name, known_uuids)]
    if _SNAPSHOTS in strangers and _is_empty(os.path.join(path, _SNAPSHOTS)):
        strangers.remove(_SNAPSHOTS)
    if _IMAGE_CACHE not in names and not any(map(_UUID_NAME.fullmatch, names)):
        strangers = []
    if len(strangers) > MAX_LEFTOVERS:
        strangers, complete = strangers[:MAX_LEFTOVERS], False
    leftovers = tuple(
        Leftover(
            name=_printable(name),
            host_allocated_bytes=_allocated(os.path.join(path, name), budget),
        )
        for name in strangers
    )
    return InstancesDirectory(
        image_cache_bytes=cache,
        leftovers=leftovers,
        complete=complete and budget.left > 0,
    )


def managed_save(path: str) -> int | None:
    """Bytes held by memory images that libvirt saved there (``*.save``); None if not readable."""
    budget = _Budget(MAX_ENTRIES)
    total = 0
    try:
        with os.scandir(path) as scan:
            for entry in scan:
                budget.left -= 1
                if budget.left <= 0:
                    return None
                if entry.name.endswith(".save") and entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return None
    return total


def _names(scan: Iterator[os.DirEntry[str]], budget: _Budget) -> list[str]:
    names = []
    for entry in scan:
        budget.left -= 1
        if budget.left <= 0:
            break
        names.append(entry.name)
    return sorted(names)


def _is_stranger(name: str, known_uuids: Collection[str]) -> bool:
    if name in _NOT_INSTANCES or name.startswith("."):
        return False
    match = _UUID_NAME.fullmatch(name)
    return match is None or bool(match["suffix"]) or match["uuid"] not in known_uuids


def _is_empty(path: str) -> bool:
    try:
        with os.scandir(path) as scan:
            return next(scan, None) is None
    except OSError:
        return False


def _allocated(path: str, budget: _Budget) -> int | None:
    """Bytes that the storage holds for a file or a whole tree, each inode once.

    None when a part of it could not be counted: a partial sum would look like a whole one.
    """
    seen: set[int] = set()
    try:
        top = os.lstat(path)
    except OSError:
        return None
    total = top.st_blocks * 512
    directories = [(path, 0)] if _is_directory(top) else []
    while directories:
        directory, depth = directories.pop()
        try:
            with os.scandir(directory) as scan:
                for entry in scan:
                    budget.left -= 1
                    if budget.left <= 0:
                        return None
                    status = entry.stat(follow_symlinks=False)
                    if status.st_dev != top.st_dev or status.st_ino in seen:
                        continue
                    seen.add(status.st_ino)
                    total += status.st_blocks * 512
                    if _is_directory(status):
                        if depth + 1 >= MAX_DEPTH:
                            return None
                        directories.append((entry.path, depth + 1))
        except OSError:
            return None
    return total


def _is_directory(status: os.stat_result) -> bool:
    return (status.st_mode & 0o170000) == 0o040000


def _printable(name: str) -> str:
    """A name may hold any byte; what is not UTF-8 or not printable is only shown."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return text if len(text) <= _MAX_NAME_CHARACTERS else text[: _MAX_NAME_CHARACTERS - 1] + "…"

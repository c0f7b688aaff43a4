# SPDX-License-Identifier: Apache-2.0
"""The cheapest proof that nobody wrote to an image: equal signatures, nothing changed between.

Of a file it is its status. The kernel stamps a write with the time of its last tick, so a second
write within the same tick leaves no trace: a file that was modified within the last two seconds
has no signature. Of a block device it is what the kernel counted as written and discarded, whose
time stamps tell nothing. What lies behind a network has none.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence

from nova_diskaudit.facts import Layer, Process, Signature
from nova_diskaudit.host.storage.view import Unreachable, View

SYSFS = "/sys"

# Far more than a tick (10 ms at most); some filesystems (vfat, old NFS servers) count in seconds.
_SETTLED_NANOSECONDS = 2_000_000_000
_MAX_STAT_BYTES = 4096
# Documentation/admin-guide/iostats.rst: writes completed, sectors written; then, since Linux
# 4.18, discards completed and sectors discarded.
_WRITE_FIELDS = (4, 6, 11, 13)


def signatures(
    images: list[tuple[Layer, Process | None]], path_map: Sequence[tuple[str, str]] = ()
) -> list[Signature | None]:
    """The signature of each image, in the same order; None where nothing can be proven.

    ``images`` are layers with the QEMU that uses them (see :class:`View`).
    """
    pairs = tuple(path_map)
    return [_look(layer, View(process=process, path_map=pairs)) for layer, process in images]


def of_status(status: os.stat_result) -> Signature | None:
    """The signature of a file or device with this status, which was taken just now."""
    if stat.S_ISBLK(status.st_mode):
        return _of_device(status.st_rdev)
    if not stat.S_ISREG(status.st_mode):
        return None
    # A time in the future, after the clock was set back, proves nothing either.
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _SETTLED_NANOSECONDS:
        return None
    return Signature(
        device=status.st_dev,
        inode=status.st_ino,
        changed_ns=status.st_ctime_ns,
        modified_ns=status.st_mtime_ns,
        blocks=status.st_blocks,
        size_bytes=status.st_size,
        counters=(),
    )


def _look(layer: Layer, view: View) -> Signature | None:
    if layer.storage not in ("file", "block"):
        return None
    try:
        with view.locate(layer.source) as file:
            return of_status(file.status)
    except (Unreachable, OSError):
        return None


def _of_device(number: int) -> Signature | None:
    node = f"{SYSFS}/dev/block/{os.major(number)}:{os.minor(number)}"
    try:
        counted = _words(f"{node}/stat")
        size = _words(f"{node}/size")[0]
        counters = tuple(counted[field] for field in _WRITE_FIELDS if field < len(counted))
    except (OSError, ValueError, IndexError):
        return None
    if len(counters) < 2:
        return None
    return Signature(
        device=number,
        inode=0,
        changed_ns=0,
        modified_ns=0,
        blocks=0,
        size_bytes=size * 512,
        counters=counters,
    )


def _words(path: str) -> list[int]:
    with open(path, "rb", buffering=0) as file:
        return [int(word) for word in file.read(_MAX_STAT_BYTES).split()]

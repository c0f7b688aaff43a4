# SPDX-License-Identifier: Apache-2.0
"""The cheapest proof that nobody wrote to an image: equal signatures, nothing changed between.

Of a file it is its status. Every write, allocation and discard stamps the file before it begins,
with any cache mode and I/O engine of QEMU (tests/functional/test_quiet_disks.py). The kernel may
take that stamp from its last tick, so a second write within the same tick leaves no trace: what
was stamped within the last two seconds has no signature.

Of a block device it is four things, since none of them tells everything:

* what the kernel counted as written and discarded there, by whomever. It counts what reaches the
  device: without O_DIRECT that is up to half a minute after the guest wrote it
  (``vm.dirty_expire_centisecs``). It counts nothing at all while ``queue/iostats`` is 0, nor of
  some drivers (NVMe multipath before Linux 6.5): a device that has counted nothing proves nothing;
* the time stamps of the node through which QEMU has it open, which any write through that node
  moves at once. libvirt gives each QEMU nodes of its own, so it is looked for below its root;
* for a loop device the blocks of the file below it, since those are what it holds, and
  others may change them;
* its size, and the number that the kernel gives each disk it attaches (``diskseq``, Linux 5.15),
  since device numbers are used again.

Nothing here sees what is written through a shared mapping of a file that stays dirty (no QEMU
disk is), nor that a reflink of the file was made. What lies behind a network has no signature.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence

from nova_diskaudit.facts import Layer, Process, Signature
from nova_diskaudit.host.storage.view import Located, Unreachable, View
from nova_diskaudit.paths import mapped

SYSFS = "/sys"

# Far more than a tick (10 ms at most); some filesystems (vfat, old NFS servers) count in seconds.
_SETTLED_NANOSECONDS = 2_000_000_000
_MAX_ATTRIBUTE_BYTES = 4096
# Documentation/admin-guide/iostats.rst, counted from 0. Discards are there since Linux 4.18,
# flushes since 5.5.
_WRITES, _SECTORS_WRITTEN, _FLUSHES = 4, 6, 15
_DISCARDS = slice(11, 14, 2)  # their number, and their sectors


def signatures(
    images: list[tuple[Layer, Process | None]], path_map: Sequence[tuple[str, str]] = ()
) -> list[Signature | None]:
    """The signature of each image, in the same order; None where nothing can be proven.

    ``images`` are layers with the QEMU that uses them (see :class:`View`).
    """
    pairs = tuple(path_map)
    return [
        _of_plain_file(layer, pairs) or _look(layer, View(process=process, path_map=pairs))
        for layer, process in images
    ]


def of_file(status: os.stat_result) -> Signature | None:
    """The signature of a regular file with this status, which was taken just now."""
    if not _is_settled(status):
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


def of_device(layer: Layer, device: Located, view: View) -> Signature | None:
    """The signature of the block device of this layer, as it is now."""
    number = device.status.st_rdev
    node = view.node_of_qemu(layer.source, number) or device.status
    if not _is_settled(node):
        return None
    directory = f"{SYSFS}/dev/block/{os.major(number)}:{os.minor(number)}"
    try:
        # A partition has the attributes of its disk one directory above.
        queue = f"{directory}/.." if _numbers(f"{directory}/partition") else directory
        counted = _numbers(f"{directory}/stat")
        (sectors,) = _numbers(f"{directory}/size")
        # To every disk in use something has happened, if only a read.
        if _numbers(f"{queue}/queue/iostats") != [1] or not any(counted):
            return None
        return Signature(
            device=number,
            inode=node.st_ino,
            changed_ns=node.st_ctime_ns,
            modified_ns=node.st_mtime_ns,
            blocks=_blocks_below(directory),
            size_bytes=sectors * 512,
            counters=(*_writes(counted), *_numbers(f"{queue}/diskseq")),
        )
    except (OSError, ValueError, IndexError):
        return None


def _of_plain_file(layer: Layer, path_map: tuple[tuple[str, str], ...]) -> Signature | None:
    """The short way to what :func:`_look` finds of nearly every image, at a third of its cost."""
    path = layer.source
    if layer.storage != "file" or not path or not path.startswith("/"):
        return None
    try:
        status = os.stat(mapped(path, path_map) if path_map else path)
    except (OSError, ValueError):
        return None
    return of_file(status) if stat.S_ISREG(status.st_mode) else None


def _look(layer: Layer, view: View) -> Signature | None:
    if layer.storage not in ("file", "block"):
        return None
    try:
        with view.locate(layer.source) as file:
            if stat.S_ISREG(file.status.st_mode):
                return of_file(file.status)
            if stat.S_ISBLK(file.status.st_mode):
                return of_device(layer, file, view)
            return None
    except (Unreachable, OSError):
        return None


def _is_settled(status: os.stat_result) -> bool:
    # A time in the future, after the clock was set back, proves nothing either.
    stamped = max(status.st_mtime_ns, status.st_ctime_ns)
    return time.time_ns() - stamped >= _SETTLED_NANOSECONDS


def _writes(counted: list[int]) -> tuple[int, ...]:
    """What moves with each write, zeroing, discard and zone reset.

    A flush without data counts as a write too, of no sectors; it changes nothing.
    """
    flushes = counted[_FLUSHES] if len(counted) > _FLUSHES else 0
    return (counted[_WRITES] - flushes, counted[_SECTORS_WRITTEN], *counted[_DISCARDS])


def _blocks_below(directory: str) -> int:
    """Blocks of the file below a loop device; 0 for other devices, and when it is not there."""
    try:
        path = _attribute(f"{directory}/loop/backing_file").rstrip(b"\n")
        return os.stat(path).st_blocks if path else 0
    except OSError:
        return 0


def _numbers(path: str) -> list[int]:
    """The numbers in an attribute; none when this kernel or device does not have it.

    :raises ValueError: when it is not made of numbers.
    """
    try:
        return [int(word) for word in _attribute(path).split()]
    except FileNotFoundError:
        return []


def _attribute(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _MAX_ATTRIBUTE_BYTES)
    finally:
        os.close(fd)

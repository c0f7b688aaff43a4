# SPDX-License-Identifier: Apache-2.0
"""Extents that a file shares with others, by FIEMAP (kernel ``Documentation/filesystems/fiemap``).

``FIEMAP_FLAG_SYNC`` is never set: it would write back a running guest's data.
"""

from __future__ import annotations

import fcntl
import struct

MAX_EXTENTS = 4096

_FS_IOC_FIEMAP = 0xC020660B
_EXTENT_LAST = 0x1
_EXTENT_SHARED = 0x2000
_HEAD = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQQQIIII")


def shared_bytes(fd: int) -> tuple[int, bool]:
    """(bytes shared with other files, whether all extents were seen).

    At most :data:`MAX_EXTENTS` extents are looked at, so that a badly fragmented image costs no
    more than a few milliseconds.

    :raises OSError: when the filesystem has no FIEMAP, or gives an error.
    """
    buffer = bytearray(_HEAD.size + MAX_EXTENTS * _EXTENT.size)
    _HEAD.pack_into(buffer, 0, 0, 2**64 - 1, 0, 0, MAX_EXTENTS, 0)
    fcntl.ioctl(fd, _FS_IOC_FIEMAP, buffer, True)
    mapped = min(_HEAD.unpack_from(buffer)[3], MAX_EXTENTS)
    shared = 0
    flags = _EXTENT_LAST  # a file without extents is complete
    for n in range(mapped):
        _, _, length, _, _, flags, _, _, _ = _EXTENT.unpack_from(
            buffer, _HEAD.size + n * _EXTENT.size
        )
        if flags & _EXTENT_SHARED:
            shared += length
    return shared, bool(flags & _EXTENT_LAST)

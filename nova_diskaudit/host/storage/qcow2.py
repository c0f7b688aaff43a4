# SPDX-License-Identifier: Apache-2.0
"""The fixed part of a qcow2 header (QEMU ``docs/interop/qcow2.txt``), and nothing behind it.

Read only when the domain XML says qcow2: a guest can write such a header into its raw disk
(CVE-2026-24708). No name in the header is followed (CVE-2015-5163, CVE-2024-32498).
"""

from __future__ import annotations

import os
import struct

import msgspec

_HEADER_BYTES = 112
_V2_BYTES = 72
_V3_BYTES = 104
_MAGIC = 0x514649FB
# QEMU 10.0 block/qcow2.h: MIN_CLUSTER_BITS, MAX_CLUSTER_BITS, QCOW_MAX_SNAPSHOTS
_CLUSTER_BITS = range(9, 22)
_MAX_SNAPSHOTS = 65536
_EXTERNAL_DATA = 1 << 2


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the header promises."""

    virtual_bytes: int
    internal_snapshots: int
    has_backing: bool
    has_external_data: bool


class HeaderInvalid(Exception):
    """Not a qcow2 header; the text says why."""


def read(fd: int) -> Header:
    """Read the header from the start of an open file.

    :raises HeaderInvalid: when it is none.
    :raises OSError: when the storage gives an error.
    """
    return parse(os.pread(fd, _HEADER_BYTES, 0))


def parse(data: bytes) -> Header:
    """The header from the first bytes of an image.

    :raises HeaderInvalid: when it is none.
    """
    if len(data) < _V2_BYTES:
        raise HeaderInvalid(f"it has only {len(data)} bytes")
    magic, version, backing_offset, _, cluster_bits, size = struct.unpack_from(">IIQIIQ", data)
    if magic != _MAGIC:
        raise HeaderInvalid("the magic number is wrong")
    if version not in (2, 3):
        raise HeaderInvalid(f"the version is {version}")
    if cluster_bits not in _CLUSTER_BITS:
        raise HeaderInvalid(f"the cluster size is 2^{cluster_bits}")
    if size >= 2**63:
        raise HeaderInvalid(f"the size is {size} bytes")
    (snapshots,) = struct.unpack_from(">I", data, 60)
    if snapshots > _MAX_SNAPSHOTS:
        raise HeaderInvalid(f"it has {snapshots} snapshots")
    incompatible = 0
    if version == 3:
        if len(data) < _V3_BYTES:
            raise HeaderInvalid(f"it has only {len(data)} bytes")
        (incompatible,) = struct.unpack_from(">Q", data, 72)
    return Header(
        virtual_bytes=size,
        internal_snapshots=snapshots,
        has_backing=backing_offset != 0,
        has_external_data=bool(incompatible & _EXTERNAL_DATA),
    )

# SPDX-License-Identifier: Apache-2.0
"""Local files, of any format: the numbers are those of ``stat``, as ``du`` prints them."""

from __future__ import annotations

import os
import stat

from nova_diskaudit.facts import Layer, LayerFacts
from nova_diskaudit.host.filesystem import Place, place_of
from nova_diskaudit.host.storage import extents, qcow2, signature
from nova_diskaudit.host.storage.view import Located, Unreachable, View

STORAGES = ("file",)

# These neither share extents between files nor compress them.
_PLAIN = frozenset({"ext2", "ext3", "ext4", "tmpfs"})
# These share (reflink), and tell so by FIEMAP, but do not compress.
_SHARING = frozenset({"xfs", "ocfs2"})
# These share and compress; FIEMAP tells the former.
_COMPRESSING = frozenset({"btrfs", "bcachefs"})
_UNMAPPED_COMPRESSING = frozenset({"zfs"})


def probe(layer: Layer, view: View) -> LayerFacts:
    """Facts of one image file; see :class:`nova_diskaudit.host.storage.Probe`."""
    try:
        with view.locate(layer.source) as file:
            if not stat.S_ISREG(file.status.st_mode):
                return LayerFacts(
                    code="not-a-regular-file", detail=f"{layer.source!r} is no regular file"
                )
            return _facts(layer, file)
    except Unreachable as error:
        return error.facts
    except OSError as error:
        return LayerFacts(code="storage-error", detail=f"{layer.source!r}: {error.strerror}")


def _facts(layer: Layer, file: Located) -> LayerFacts:
    status = file.status
    place = place_of(file.fd, status.st_dev)
    sharing = sharing_of(file, place)
    promised = promise(layer, file, status.st_size)
    allocated = status.st_blocks * 512
    return LayerFacts(
        identity=f"file:{status.st_dev}:{status.st_ino}",
        storage_identity=place.identity,
        virtual_bytes=promised.virtual_bytes,
        allocated_bytes=allocated,
        allocated_source="stat",
        container_bytes=status.st_size,
        host_block_bytes=max(status.st_blksize, place.fragment_bytes),
        shares_extents=sharing.shares_extents,
        shared_bytes=sharing.shared_bytes,
        shared_is_minimum=sharing.shared_is_minimum,
        internal_snapshots=promised.internal_snapshots,
        has_backing=promised.has_backing,
        has_external_data=promised.has_external_data,
        fully_reserved=_fully_reserved(layer, promised, allocated, status.st_size),
        signature=signature.of_file(status),
        code=promised.code,
        detail=promised.detail,
    )


def promise(layer: Layer, file: Located, container_bytes: int) -> LayerFacts:
    """The guest-visible size, and what a qcow2 header tells besides: facts with only these set.

    A raw image is as large as its container, in whole sectors as QEMU counts them (or as large
    as the window that the XML opens on it). Of other formats, and behind LUKS, only a running
    QEMU knows the size.
    """
    image_format = layer.format or "raw"  # libvirt's default; it never probes
    if image_format == "qcow2":
        return _qcow2_promise(layer, file)
    if image_format != "raw" or layer.encrypted:
        what = "an encrypted image" if image_format == "raw" else f"a {image_format} image"
        return LayerFacts(code="virtual-size-unknown", detail=f"the header of {what} is not read")
    size = layer.window_bytes if layer.window_bytes is not None else container_bytes
    return LayerFacts(virtual_bytes=-(-size // 512) * 512)


def _qcow2_promise(layer: Layer, file: Located) -> LayerFacts:
    if layer.window_bytes is not None:
        # The header is at an offset that only the XML of a running domain tells.
        return LayerFacts(code="virtual-size-unknown", detail="the image begins inside a slice")
    try:
        fd = file.open()
        try:
            header = qcow2.read(fd)
        finally:
            os.close(fd)
    except qcow2.HeaderInvalid as error:
        return LayerFacts(code="image-header-invalid", detail=f"{layer.source!r}: {error}")
    except PermissionError:
        return LayerFacts(code="permission-denied", detail=f"{layer.source!r} may not be read")
    except OSError as error:
        return LayerFacts(code="storage-error", detail=f"{layer.source!r}: {error.strerror}")
    return LayerFacts(
        virtual_bytes=header.virtual_bytes,
        internal_snapshots=header.internal_snapshots,
        has_backing=header.has_backing,
        has_external_data=header.has_external_data,
    )


def _fully_reserved(layer: Layer, promised: LayerFacts, allocated: int, container: int) -> bool:
    """Whether the storage holds at least all that was promised, written or not.

    A qcow2 file is reserved by preallocation, or by ``fallocate -n`` past its end as Nova does
    with ``preallocate_images = space``; in both cases it holds at least its virtual size. One
    with internal snapshots can hold that much without any reservation. How far the blocks reach
    past the end tells nothing, since XFS allocates ahead of the end of open files.
    """
    virtual = promised.virtual_bytes
    if not virtual or allocated < virtual:
        return False
    if (layer.format or "raw") == "raw":
        return allocated >= container
    return not promised.internal_snapshots


def sharing_of(file: Located, place: Place) -> LayerFacts:
    """Whether other files may hold the same bytes: facts with only these fields set."""
    if place.fs_type in _PLAIN:
        return LayerFacts(shares_extents=False, shared_bytes=0)
    if place.fs_type in _UNMAPPED_COMPRESSING:
        return LayerFacts(shares_extents=True)
    if place.fs_type not in _SHARING | _COMPRESSING:
        return LayerFacts()
    compresses = place.fs_type in _COMPRESSING
    try:
        fd = file.open()
        try:
            shared, complete = extents.shared_bytes(fd)
        finally:
            os.close(fd)
    except OSError:
        return LayerFacts(shares_extents=True if compresses else None)
    return LayerFacts(
        shares_extents=compresses or shared > 0 or not complete,
        shared_bytes=shared,
        shared_is_minimum=not complete,
    )

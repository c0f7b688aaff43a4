# SPDX-License-Identifier: Apache-2.0
"""The filesystem that a path lies on: who it is, of what kind, and how full."""

from __future__ import annotations

import os
import re

import msgspec

from nova_diskaudit.facts import Mount, StorageFacts
from nova_diskaudit.host.errors import HostError
from nova_diskaudit.host.mounts import MountTable

_KIND_BY_TYPE = {
    "nfs": "nfs",
    "nfs4": "nfs",
    "ceph": "cephfs",
    "fuse.glusterfs": "shared",
    "cifs": "shared",
    "smb3": "shared",
    "lustre": "shared",
    "beegfs": "shared",
    "gpfs": "shared",
    "ocfs2": "shared",
    "gfs2": "shared",
}
# These lie on a block device that several hosts see; their own id is the same on each of them.
_SHARED_DISK = frozenset({"ocfs2", "gfs2"})
# kernel 5.17 and newer: name@fsid.filesystem=/directory (Documentation/filesystems/ceph.rst)
_CEPH_SOURCE = re.compile(r"[^@]*@(?P<fsid>[^.=/]+)\.(?P<name>[^=/]+)=")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change while a filesystem stays mounted."""

    identity: str
    kind: str
    fs_type: str | None
    fragment_bytes: int
    mount: Mount | None


class Places:
    """Remembers the place of each ``st_dev``, because on NFS ``statvfs`` is a network call."""

    _MOST = 10_000

    def __init__(self) -> None:
        self._mounts = MountTable()
        self._known: dict[int, Place] = {}

    def of(self, fd: int, device: int) -> Place:
        """The place of the open file ``fd`` with this ``st_dev``.

        :raises OSError: when the filesystem gives an error.
        """
        if self._mounts.changed() or len(self._known) >= self._MOST:
            self._known.clear()
        if device not in self._known:
            self._known[device] = self.look(fd, device)
        return self._known[device]

    def look(self, fd: int, device: int) -> Place:
        """As :meth:`of`, without memory: a filesystem can be mounted in several places."""
        mount = self._mounts.of(fd, device)
        numbers = os.fstatvfs(fd)
        fs_type = mount.fs_type if mount is not None else None
        return Place(
            identity=_identity(mount, numbers.f_fsid, device),
            kind=_KIND_BY_TYPE.get(fs_type or "", "local"),
            fs_type=fs_type,
            fragment_bytes=numbers.f_frsize,
            mount=mount,
        )


_places: Places | None = None


def place_of(fd: int, device: int) -> Place:
    """:meth:`Places.of` with the memory of this process."""
    return _shared_places().of(fd, device)


def filesystem(path: str) -> StorageFacts:
    """The filesystem that ``path`` lies on, in bytes.

    :raises HostError: ``file-missing``, ``permission-denied`` or ``storage-error``.
    """
    try:
        # O_PATH only names the file: no device is opened, no lock, no access time.
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            place = _shared_places().look(fd, os.fstat(fd).st_dev)
            numbers = os.fstatvfs(fd)
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise HostError("file-missing", f"{path!r} is not there") from None
    except PermissionError:
        raise HostError("permission-denied", f"{path!r} may not be looked at") from None
    except OSError as error:
        raise HostError("storage-error", f"{path!r}: {error.strerror}") from None
    # Some filesystems (btrfs, many network ones) have no count of inodes and say 0 of 0.
    counts_inodes = numbers.f_files > 0
    return StorageFacts(
        identity=place.identity,
        kind=place.kind,
        path=place.mount.path if place.mount is not None else path,
        fs_type=place.fs_type,
        total_bytes=numbers.f_blocks * numbers.f_frsize,
        free_bytes=numbers.f_bavail * numbers.f_frsize,
        inodes_free=numbers.f_favail if counts_inodes else None,
    )


def _shared_places() -> Places:
    global _places
    if _places is None:
        _places = Places()
    return _places


def _identity(mount: Mount | None, fsid: int, device: int) -> str:
    """A name that is equal on every host that shares this filesystem, and on no other.

    ``f_fsid`` alone is not: XFS makes it from the device number, and hosts installed from one
    image have equal filesystem UUIDs. So local filesystems carry the host's name.
    """
    fs_type = mount.fs_type if mount is not None else ""
    kind = _KIND_BY_TYPE.get(fs_type)
    if mount is not None and kind is not None:
        if fs_type in _SHARED_DISK and fsid:
            return f"{fs_type}:{fsid:016x}"
        ceph = _CEPH_SOURCE.match(mount.source) if kind == "cephfs" else None
        source = f"{ceph['fsid']}.{ceph['name']}" if ceph else mount.source
        return f"{kind if kind != 'shared' else fs_type}:{source}"
    number = f"{fsid:016x}" if fsid else f"{os.major(device)}:{os.minor(device)}"
    return f"local:{os.uname().nodename}:{number}"

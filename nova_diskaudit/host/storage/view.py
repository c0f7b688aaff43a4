# SPDX-License-Identifier: Apache-2.0
"""Where a path of the domain XML is found on this host, and what it is, without opening it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

import msgspec

from nova_diskaudit.facts import LayerFacts, Process
from nova_diskaudit.host.processes import exists
from nova_diskaudit.paths import mapped

_HEADER_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Unreachable(Exception):
    """The path leads nowhere that can be looked at; ``facts`` says so."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.facts = LayerFacts(code=code, detail=detail)


class Located(msgspec.Struct, frozen=True):
    """A file that was found: a descriptor that only names it (``O_PATH``), and its status."""

    fd: int
    status: os.stat_result

    def open(self) -> int:
        """A descriptor to read this very file, whatever its path names by now.

        :raises OSError: when it cannot be opened, or is not the same file.
        """
        fd = os.open(f"/proc/self/fd/{self.fd}", _HEADER_FLAGS)
        again = os.fstat(fd)
        if (again.st_dev, again.st_ino) != (self.status.st_dev, self.status.st_ino):
            os.close(fd)
            raise OSError(0, "it is another file now")
        return fd


class View(msgspec.Struct, frozen=True, kw_only=True):
    """From where the paths of a domain are to be seen."""

    process: Process | None = None
    path_map: tuple[tuple[str, str], ...] = ()

    @contextlib.contextmanager
    def locate(self, path: str | None) -> Iterator[Located]:
        """Find ``path``: by the path map, as it stands, then below the root of QEMU.

        Symlinks are followed, as libvirt does. The descriptor names the file without opening it
        (open(2), ``O_PATH``): a FIFO does not block and a device is not touched.

        :raises Unreachable: ``file-missing``, ``permission-denied`` or ``storage-error``.
        """
        if not path or not path.startswith("/") or "\0" in path:
            raise Unreachable("file-missing", f"{path!r} is not an absolute path")
        fd = self._find(path)
        try:
            yield Located(fd, os.fstat(fd))
        finally:
            os.close(fd)

    def node_of_qemu(self, path: str | None, number: int) -> os.stat_result | None:
        """The status of the node by which QEMU itself has the block device ``number`` open.

        None when there is no QEMU, or its root may not be looked at. An absolute symlink on the
        way leads to the node of this host instead; those of udev are relative.
        """
        if not path or self.process is None or not exists(self.process):
            return None
        try:
            status = os.stat(f"/proc/{self.process.pid}/root{path}")
        except OSError:
            return None
        return status if stat.S_ISBLK(status.st_mode) and status.st_rdev == number else None

    def _find(self, path: str) -> int:
        for candidate in self._candidates(path):
            try:
                return os.open(candidate, os.O_PATH | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except PermissionError:
                raise Unreachable(
                    "permission-denied", f"{candidate!r} may not be looked at"
                ) from None
            except OSError as error:
                raise Unreachable("storage-error", f"{candidate!r}: {error.strerror}") from None
        raise Unreachable("file-missing", f"{path!r} is not there")

    def _candidates(self, path: str) -> Iterator[str]:
        yield from dict.fromkeys((mapped(path, self.path_map), path))
        if self.process is not None and exists(self.process):
            yield f"/proc/{self.process.pid}/root{path}"

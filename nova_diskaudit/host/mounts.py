# SPDX-License-Identifier: Apache-2.0
"""The mount table: which filesystem a path lies on (proc(5), ``/proc/PID/mountinfo``)."""

from __future__ import annotations

import os
import re
import select

from nova_diskaudit.facts import Mount

_MAX_BYTES = 16 * 2**20
_ESCAPE = re.compile(r"\\([0-7]{3})")


def mounts() -> list[Mount]:
    """All mounts this process sees, in the kernel's order (a later one may hide an earlier)."""
    return list(_parse(_read("/proc/self/mountinfo")).values())


class MountTable:
    """Looks up the mount of an open file; reads the table again when the kernel changed it."""

    def __init__(self) -> None:
        # The kernel flags the open file with POLLPRI at each change of the mounts (proc(5)).
        self._file = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLPRI)
        self._mounts = _parse(_read("/proc/self/mountinfo"))

    def changed(self) -> bool:
        """Whether mounts came or went since the last call; the table is renewed then."""
        if not self._poll.poll(0):
            return False
        self._mounts = _parse(_read("/proc/self/mountinfo"))
        return True

    def of(self, fd: int, device: int) -> Mount | None:
        """The mount that the open file ``fd`` with this ``st_dev`` lies on; None if not known.

        The mount id decides, because files of btrfs subvolumes have device numbers of their own.
        A file opened below ``/proc/PID/root`` lies in another namespace, whose mount ids this
        table lacks; there the superblock's device number decides.
        """
        mount = self._mounts.get(_mount_id(fd))
        if mount is not None:
            return mount
        name = f"{os.major(device)}:{os.minor(device)}"
        return next((m for m in self._mounts.values() if m.device == name), None)


def _mount_id(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}", "rb", buffering=0) as info:
        for line in info.read(4096).splitlines():
            if line.startswith(b"mnt_id:"):
                return int(line[7:])
    return -1


def _parse(text: str) -> dict[int, Mount]:
    """Mounts by mount id."""
    found = {}
    for line in text.splitlines():
        # 36 35 98:0 /root /mnt rw,noatime shared:1 - ext4 /dev/root rw
        left, separator, right = line.partition(" - ")
        words, ends = left.split(" "), right.split(" ")
        if not separator or len(words) < 6 or len(ends) < 2 or not words[0].isdigit():
            continue
        found[int(words[0])] = Mount(
            path=_unescape(words[4]),
            fs_type=_unescape(ends[0]),
            source=_unescape(ends[1]),
            device=words[2],
        )
    return found


def _unescape(text: str) -> str:
    """Space, tab, newline and backslash are written in octal."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text) if "\\" in text else text


def _read(path: str) -> str:
    with open(path, "rb") as file:
        # A path may hold any byte but NUL; what is not UTF-8 is only shown, never opened.
        return file.read(_MAX_BYTES).decode("utf-8", "replace")

# SPDX-License-Identifier: Apache-2.0
"""libvirt's own record of a running domain, which it writes anew at each change of it.

It keeps one to find its domains again when it is started anew (libvirt 9.0 and 11.3,
``qemuDomainSaveStatus``), so a disk, an image, or a state of the agent's channel that is not in
it would be lost there too. That the file is the same is the cheapest proof that libvirt would
describe the domain with the same words: it needs no call, and waits for nobody's job.

Its place is libvirt's own affair. Where it is not found, or may not be read, libvirt is asked.
"""

from __future__ import annotations

import os
import stat

from nova_diskaudit.facts import Process, Signature
from nova_diskaudit.host.storage import signature

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
# Behind a comment of 200 bytes or so comes the element that names the process.
_HEAD_BYTES = 1024

#: where the system's libvirtd or virtqemud keeps them, as its QEMUs see it
DIRECTORY = "/run/libvirt/qemu"


def status_files(domains: list[tuple[str, Process]]) -> list[Signature | None]:
    """The signature of the file about each domain, in the same order; None without proof.

    ``domains`` are names, each with the QEMU that is to be found in the file.
    """
    return [_look(name, process) for name, process in domains]


def _look(name: str, process: Process) -> Signature | None:
    if "/" in name:  # libvirt allows none
        return None
    # Where libvirt runs in a container, so does its QEMU.
    path = f"/proc/{process.pid}/root{DIRECTORY}/{name}.xml"
    try:
        fd = os.open(path, _FLAGS)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        head = os.read(fd, _HEAD_BYTES)
    except OSError:
        return None
    finally:
        os.close(fd)
    # Not one that was left behind, or of another libvirt.
    if f" pid='{process.pid}'>".encode() not in head:
        return None
    return signature.of_file(status)

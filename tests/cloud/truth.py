# SPDX-License-Identifier: Apache-2.0
"""What host and guest say of a server, without the product."""

from __future__ import annotations

import dataclasses
import pathlib
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import TypeVar

import libvirt

from tests.cloud.cloud import Host

_T = TypeVar("_T")

#: Against a hang of the tests themselves; nothing is asserted about how long things take.
LONG = 180.0


@dataclasses.dataclass(frozen=True)
class Truth:
    """One moment of a server. Each of its parts may be another a moment later."""

    #: bytes that the host's filesystem holds for each local disk by target, as ``du`` counts
    held: dict[str, int]
    #: size of each of them for the guest
    virtual: dict[str, int]
    #: used bytes of each mounted filesystem by mount point, by the guest kernel's ``statfs``
    used: dict[str, int]


def look(host: Host, uuid: str) -> Truth:
    """The server's files now, and what its console told last."""
    files, virtual = {}, {}
    connection = libvirt.openReadOnly(host.hypervisor.uri_readonly)
    try:
        domain = connection.lookupByUUIDString(uuid)
        for disk in ElementTree.fromstring(domain.XMLDesc(0)).iterfind("./devices/disk"):
            source, target = disk.find("source"), disk.find("target")
            # A config drive is a disk of Nova's, not of the tenant's.
            if source is None or target is None or disk.get("device") != "disk":
                continue
            name = str(target.get("dev"))
            files[name] = pathlib.Path(str(source.get("file")))
            virtual[name] = _virtual_bytes(host, files[name])
    finally:
        connection.close()
    held = {name: path.stat().st_blocks * 512 for name, path in files.items()}
    return Truth(held, virtual, _filesystems(host, uuid))


def _virtual_bytes(host: Host, path: pathlib.Path) -> int:
    with path.open("rb") as image:
        head = image.read(32)
    # qcow2: the size of the disk is in bytes 24 to 31 of the header.
    is_qcow2 = head.startswith(b"QFI\xfb")
    return int.from_bytes(head[24:32], "big") if is_qcow2 else path.stat().st_size


def _filesystems(host: Host, uuid: str) -> dict[str, int]:
    said = console(host, uuid).replace("\r", "")
    block, end, _ = said.rpartition("TRUTH END")
    found = {}
    for line in block.rpartition("TRUTH END")[2].splitlines() if end else ():
        words = line.split()
        if words[:1] == ["TRUTH"] and words[1].startswith("/mnt/"):
            found[words[1]] = int(words[5])
    return found


def console(host: Host, uuid: str) -> str:
    """What the server printed since it started; nothing when it never did."""
    log = host.instances / uuid / "console.log"
    return log.read_text(errors="replace") if log.exists() else ""


def await_boot(host: Host, uuid: str) -> None:
    """Wait until the guest has mounted what it has."""
    await_true(f"boot of {uuid}", lambda: "TRUTH END" in console(host, uuid))


def await_true(what: str, check: Callable[[], object], seconds: float = LONG) -> None:
    """Wait until a check gives something true.

    :raises AssertionError: when it does not.
    """
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, f"waited in vain for: {what}"
        time.sleep(0.2)


def in_time(check: Callable[[], _T], seconds: float = LONG) -> _T:
    """What a check gives as soon as all that it asserts holds.

    :raises AssertionError: the last one, when that is never so.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > until:
                raise
        time.sleep(0.5)

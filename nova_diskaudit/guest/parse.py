# SPDX-License-Identifier: Apache-2.0
"""Replies of the guest agent, read strictly: hostile bytes in, bounded facts or an error out.

A reply is believed as a whole or not at all: it must have the agent's form (``qga/
qapi-schema.json``, QEMU 2.2 to 10.0; unknown members are skipped), stay within the bounds below,
and its text loses every character that could act on a terminal or a log. Numbers are taken as
they are, since judging them is the business of ``attribute``.

No libvirt is imported here, so that the process which reads a guest's words need not hold a
connection that could act on guests.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, TypeVar

import msgspec

from nova_diskaudit.facts import GuestDevice, GuestDisk, GuestFilesystem

MAX_REPLY_BYTES = 2**20
MAX_FILESYSTEMS = 2048
MAX_GUEST_DISKS = 4096
MAX_DEVICES = 256
MAX_NAME_CHARACTERS = 255
MAX_PATH_CHARACTERS = 4096

_T = TypeVar("_T")


class ReplyInvalid(Exception):
    """The reply is not of the agent's form; the text is safe to show."""


class _Wire(msgspec.Struct, rename=lambda name: name.replace("_", "-")):
    """Members are spelled with dashes on the wire."""


class _Pci(_Wire):
    domain: int
    bus: int
    slot: int
    function: int


class _Address(_Wire):
    pci_controller: _Pci
    bus_type: str
    bus: int
    target: int
    unit: int
    serial: str | None = None
    dev: str | None = None


class _Filesystem(_Wire):
    name: str
    mountpoint: str
    type: str
    disk: Annotated[list[_Address], msgspec.Meta(max_length=MAX_DEVICES)]
    used_bytes: int | None = None
    total_bytes: int | None = None
    total_bytes_privileged: int | None = None


class _Disk(_Wire):
    name: str
    partition: bool
    dependencies: Annotated[list[str], msgspec.Meta(max_length=MAX_DEVICES)] = []
    address: _Address | None = None


class _Info(_Wire):
    version: str


class _FilesystemsReply(_Wire, rename={"value": "return"}):
    value: Annotated[list[_Filesystem], msgspec.Meta(max_length=MAX_FILESYSTEMS)]


class _DisksReply(_Wire, rename={"value": "return"}):
    value: Annotated[list[_Disk], msgspec.Meta(max_length=MAX_GUEST_DISKS)]


class _InfoReply(_Wire, rename={"value": "return"}):
    value: _Info


class _TextReply(_Wire, rename={"value": "return"}):
    value: str


def filesystems(reply: bytes) -> tuple[GuestFilesystem, ...]:
    """Read the reply to ``guest-get-fsinfo``.

    :raises ReplyInvalid: when it is not one, or too large.
    """
    return tuple(
        GuestFilesystem(
            name=clean(fs.name, MAX_NAME_CHARACTERS),
            mountpoint=clean(fs.mountpoint, MAX_PATH_CHARACTERS),
            type=clean(fs.type, MAX_NAME_CHARACTERS),
            used_bytes=_count(fs.used_bytes),
            total_bytes=_count(fs.total_bytes),
            size_bytes=_count(fs.total_bytes_privileged),
            devices=tuple(_device(address) for address in fs.disk),
        )
        for fs in _decode(reply, _FilesystemsReply).value
    )


def disks(reply: bytes) -> tuple[GuestDisk, ...]:
    """Read the reply to ``guest-get-disks`` (QEMU 5.2 and newer agents).

    :raises ReplyInvalid: when it is not one, or too large.
    """
    return tuple(
        GuestDisk(
            name=clean(disk.name, MAX_NAME_CHARACTERS),
            partition=disk.partition,
            dependencies=tuple(clean(d, MAX_NAME_CHARACTERS) for d in disk.dependencies),
            device=_device(disk.address, disk.name) if disk.address else None,
        )
        for disk in _decode(reply, _DisksReply).value
    )


def version(reply: bytes) -> str:
    """Read the agent's version from the reply to ``guest-info``.

    :raises ReplyInvalid: when it is not one, or too large.
    """
    return clean(_decode(reply, _InfoReply).value.version, MAX_NAME_CHARACTERS)


def freeze_status(reply: bytes) -> str:
    """Read the reply to ``guest-fsfreeze-status``: ``thawed`` or ``frozen``.

    :raises ReplyInvalid: when it is not one, or too large.
    """
    return clean(_decode(reply, _TextReply).value, MAX_NAME_CHARACTERS)


def clean(text: str, limit: int) -> str:
    """Text that acts on nothing: no control, format (bidi, zero-width) or private characters.

    Each is replaced by U+FFFD, so that two names that differ only there stay as long as they
    were; what is longer than ``limit`` characters is cut, with an ellipsis.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "\u2026"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c == " " or unicodedata.category(c)[0] not in "CZ" else "\ufffd" for c in text
    )


def _decode(reply: bytes, form: type[_T]) -> _T:
    if len(reply) > MAX_REPLY_BYTES:
        raise ReplyInvalid(f"the reply has more than {MAX_REPLY_BYTES} bytes")
    try:
        return msgspec.json.decode(reply, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # The error text names our own members and types, never what the guest sent.
        raise ReplyInvalid(f"not a reply of the agent's form: {str(error)[:200]}") from None


def _count(number: int | None) -> int | None:
    """A number that 64 bits can hold, signed or not; JSON has no such bound."""
    if number is not None and not -(2**63) <= number < 2**64:
        raise ReplyInvalid("a byte count of more than 64 bits")
    return number


def _device(address: _Address, name: str | None = None) -> GuestDevice:
    dev = address.dev or name
    return GuestDevice(
        dev=clean(dev, MAX_NAME_CHARACTERS) if dev else None,
        serial=clean(address.serial, MAX_NAME_CHARACTERS) if address.serial else None,
        address=_normalised(address),
    )


def _normalised(address: _Address) -> str | None:
    """The address in the form of ``facts.DiskDefinition.address``; None when it has none.

    Drivers that qemu-ga does not know have -1 everywhere (QEMU 10.0 ``commands-linux.c``).
    """
    pci = address.pci_controller
    numbers = (pci.domain, pci.bus, pci.slot, pci.function)
    if any(n < 0 or n > 0xFFFF for n in numbers):
        return None
    controller = f"{pci.domain:04x}:{pci.bus:02x}:{pci.slot:02x}.{pci.function:x}"
    if address.bus_type in ("virtio", "nvme"):
        return f"pci:{controller}"
    place = (address.bus, address.target, address.unit)
    if any(n < 0 or n > 0xFFFF for n in place):
        return None
    return f"drive:{controller}:{place[0]}:{place[1]}:{place[2]}"

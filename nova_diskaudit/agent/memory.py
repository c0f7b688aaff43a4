# SPDX-License-Identifier: Apache-2.0
"""What is remembered of each domain, and whether it may be taken for unchanged.

A domain is *quiet* when nobody started, stopped or renamed it, libvirt describes it with the very
words it used when it was last looked at, and every image of it has the signature it had then.
That the words are the same is known from libvirt's own record of a running domain, or else from
their digest. Events are not needed: a snapshot of a running domain gives it other images without
one, and any of them can be lost. Pure: no I/O, no clock.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping

import msgspec

from nova_diskaudit.conclude import conclude_instance
from nova_diskaudit.facts import (
    DiskDefinition,
    DiskSighting,
    Layer,
    LayerFacts,
    Listed,
    Process,
    Sighting,
    Signature,
)
from nova_diskaudit.record import Instance

# What a domain lacked for a reason that may be gone the next time, with no trace of that in its
# description or its images.
_PASSING = frozenset(
    {
        "agent-frozen",
        "audit-deadline",
        "domain-unreadable",
        "evidence-missing",
        "libvirt-busy",
        "qemu-unresponsive",
        "storage-unresponsive",
    }
)

# Image formats that keep all data in one file, whatever the options.
_WHOLE_FORMATS = frozenset({"raw", "iso", "qcow", "qed", "vdi", "vhd", "vpc"})


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """One domain as it was last looked at.

    ``proof``: the signature of each image; None when the next cycle has to look again anyway.
    ``listed``: None when it was looked at while libvirt gave no list. ``status_file``: libvirt's
    record of it, which has not changed since before it was described; None without one.
    """

    sighting: Sighting
    instance: Instance
    listed: Listed | None
    process: Process | None
    proof: dict[Layer, Signature] | None
    status_file: Signature | None


def remember(
    sighting: Sighting,
    *,
    listed: Listed | None,
    process: Process | None,
    status_file: Signature | None,
    before: Remembered | None,
) -> Remembered:
    """What a look at a domain leaves behind.

    :param status_file: taken before libvirt described the domain.
    :param before: what the last look left behind.
    """
    instance = conclude_instance(sighting)
    if instance.guest.as_of is None and before is not None:
        # The time of the last real answer stays, so that a reader sees since when it is silent.
        guest = msgspec.structs.replace(instance.guest, as_of=before.instance.guest.as_of)
        instance = msgspec.structs.replace(instance, guest=guest)
    return Remembered(
        sighting=sighting,
        instance=instance,
        listed=listed,
        process=process,
        proof=None if _is_passing(sighting) else _proof(sighting),
        status_file=status_file,
    )


def images(known: Remembered) -> list[tuple[Layer, Process | None]]:
    """The images whose signatures tell whether anything changed, with the QEMU that uses them."""
    return [(layer, known.process) for layer in known.proof or ()]


def is_quiet(
    known: Remembered,
    listed: Listed,
    status_file: Signature | None,
    digest: bytes | None,
    signatures: Mapping[Layer, Signature | None],
) -> bool:
    """Whether everything stands as it was remembered.

    :param status_file: libvirt's record of it now; None without one.
    :param digest: of what libvirt would describe it as now; None when it would not, or was not
        asked.
    """
    return (
        known.proof is not None
        and known.listed == listed
        and is_described_alike(known, status_file, digest)
        and not any(changed(known.proof, signatures))
    )


def is_described_alike(
    known: Remembered, status_file: Signature | None, digest: bytes | None
) -> bool:
    """Whether libvirt describes it as it did, which the images to be compared follow from."""
    if status_file is not None and known.status_file == status_file:
        return True
    domain = known.sighting.domain
    return domain is not None and digest is not None and domain.digest == digest


def changed(
    proof: Mapping[Layer, Signature], signatures: Mapping[Layer, Signature | None]
) -> Iterator[Layer]:
    """The images that somebody may have written to since their signatures were taken."""
    return (layer for layer, signature in proof.items() if signatures.get(layer) != signature)


def renewed(known: Remembered, at: datetime.datetime, status_file: Signature | None) -> Remembered:
    """A quiet domain, looked at again: its host facts are of ``at``, its guest was checked.

    :param status_file: taken before libvirt was asked for the digest that proved it quiet, if it
        was: libvirt writes its record anew for reasons of its own, too.
    """
    guest = known.instance.guest
    if guest.state == "answered":
        guest = msgspec.structs.replace(guest, checked_at=at)
    return msgspec.structs.replace(
        known,
        status_file=status_file,
        sighting=msgspec.structs.replace(known.sighting, as_of=at),
        instance=msgspec.structs.replace(known.instance, as_of=at, guest=guest),
    )


def _is_passing(sighting: Sighting) -> bool:
    domain, doubt = sighting.domain, sighting.guest_doubt
    if domain is None or any(one.code in _PASSING for one in sighting.doubts):
        return True
    if doubt is None:
        return False
    # The agent came or went after libvirt described the domain; it may be back as it was.
    if doubt.code == "agent-disconnected":
        return domain.channel != "disconnected"
    return doubt.code in _PASSING


def _proof(sighting: Sighting) -> dict[Layer, Signature] | None:
    proof: dict[Layer, Signature] = {}
    for disk in sighting.domain.disks if sighting.domain else ():
        images = _images(disk, sighting.disks.get(disk.target))
        if images is None:
            return None
        for layer, facts in images:
            if facts.signature is None:
                return None
            # Looked at twice, as a shared backing file is: the first look is the older proof.
            proof.setdefault(layer, facts.signature)
    return proof


def _images(
    disk: DiskDefinition, seen: DiskSighting | None
) -> list[tuple[Layer, LayerFacts]] | None:
    """Every image that this disk is made of; None when some are not known.

    The kernel does not count what a guest writes by SCSI commands of its own, as it does through
    a disk of the device type ``lun`` (Linux 6.18, ``blk_do_io_stat``).
    """
    if seen is None or len(seen.layers) != len(disk.layers) or disk.device == "lun":
        return None
    layers = list(disk.layers)
    if seen.resolved is not None and layers:
        layers[0] = seen.resolved
    images = list(zip(layers, seen.layers, strict=True))
    wanted = sum(facts.has_external_data for facts in seen.layers)
    if disk.data_file is not None and seen.data_file is not None:
        images.append((disk.data_file, seen.data_file))
        wanted -= 1
    # Libvirt before 10.10 does not name a data file, and no libvirt that of a lower image.
    if wanted > 0 or not all(_names_its_files(layer, facts) for layer, facts in images):
        return None
    return images


def _names_its_files(layer: Layer, facts: LayerFacts) -> bool:
    """Whether it is known that the image's data lie in its own file, or in one that it names.

    A vmdk file may only describe which files they lie in (QEMU 7.2, ``block/vmdk.c``).
    """
    if layer.format == "qcow2":
        return facts.virtual_bytes is not None  # its header was read
    return (layer.format or "raw") in _WHOLE_FORMATS

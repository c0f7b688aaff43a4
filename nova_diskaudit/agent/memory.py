# SPDX-License-Identifier: Apache-2.0
"""What is remembered of each domain, and whether it may be taken for unchanged.

A domain is *quiet* when nobody started, stopped or renamed it, no event spoke of it, and every
image of it has the signature it had when it was last looked at. Pure: no I/O, no clock.
"""

from __future__ import annotations

import datetime

import msgspec

from nova_diskaudit.conclude import conclude_instance
from nova_diskaudit.facts import Layer, Listed, Process, Sighting, Signature
from nova_diskaudit.record import Instance

# What a domain lacked for a reason that may be gone the next time.
_PASSING = frozenset(
    {
        "audit-deadline",
        "domain-unreadable",
        "evidence-missing",
        "libvirt-busy",
        "no-connection",
        "qemu-unresponsive",
        "storage-unresponsive",
    }
)


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """One domain as it was last looked at.

    ``proof``: the signature of each image; None when the next cycle has to look again anyway.
    ``listed``: None when it was looked at while libvirt gave no list.
    """

    sighting: Sighting
    instance: Instance
    listed: Listed | None
    process: Process | None
    proof: dict[Layer, Signature] | None


def remember(
    sighting: Sighting,
    *,
    listed: Listed | None,
    process: Process | None,
    before: Remembered | None,
) -> Remembered:
    """What a look at a domain leaves behind; ``before`` is what the last one did."""
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
    )


def images(known: Remembered) -> list[tuple[Layer, Process | None]]:
    """The images whose signatures tell whether anything changed, with the QEMU that uses them."""
    return [(layer, known.process) for layer in known.proof or ()]


def is_quiet(known: Remembered, listed: Listed, signatures: dict[Layer, Signature | None]) -> bool:
    """Whether everything stands as it was remembered."""
    return (
        known.proof is not None
        and known.listed == listed
        and all(signatures.get(layer) == signature for layer, signature in known.proof.items())
    )


def renewed(known: Remembered, at: datetime.datetime) -> Remembered:
    """A quiet domain, looked at again: its host facts are of ``at``, its guest was checked."""
    guest = known.instance.guest
    if guest.state == "answered":
        guest = msgspec.structs.replace(guest, checked_at=at)
    return msgspec.structs.replace(
        known,
        sighting=msgspec.structs.replace(known.sighting, as_of=at),
        instance=msgspec.structs.replace(known.instance, as_of=at, guest=guest),
    )


def _is_passing(sighting: Sighting) -> bool:
    doubts = (*sighting.doubts, *([sighting.guest_doubt] if sighting.guest_doubt else ()))
    return sighting.domain is None or any(doubt.code in _PASSING for doubt in doubts)


def _proof(sighting: Sighting) -> dict[Layer, Signature] | None:
    proof: dict[Layer, Signature] = {}
    for disk in sighting.domain.disks if sighting.domain else ():
        seen = sighting.disks.get(disk.target)
        if seen is None or len(seen.layers) != len(disk.layers):
            return None
        layers = list(disk.layers)
        if seen.resolved is not None and layers:
            layers[0] = seen.resolved
        looked = list(zip(layers, seen.layers, strict=True))
        if disk.data_file is not None:
            if seen.data_file is None:
                return None
            looked.append((disk.data_file, seen.data_file))
        for layer, facts in looked:
            if facts.signature is None:
                return None
            # Looked at twice, as a shared backing file is: the first look is the older proof.
            proof.setdefault(layer, facts.signature)
    return proof

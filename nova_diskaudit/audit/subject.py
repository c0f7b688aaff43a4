# SPDX-License-Identifier: Apache-2.0
"""One domain while it is being looked at: what each step found, and what may still be asked."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Literal

from nova_diskaudit.facts import (
    BlockStats,
    DiskSighting,
    Domain,
    Doubt,
    GuestClaims,
    Layer,
    LayerFacts,
    Process,
    Sighting,
)

#: what one look at a domain asks of others: libvirt, QEMU, the guest
Part = Literal["describe", "evidence", "guest"]

# States with a QEMU that answers. A suspended or crashed one may never do.
_ASKED_STATES = ("running", "paused")


@dataclasses.dataclass
class Subject:
    """One domain while it is being looked at; written by one phase at a time."""

    uuid: str
    name: str
    as_of: datetime.datetime
    domain: Domain | None = None
    process: Process | None = None
    layers: dict[str, tuple[LayerFacts, ...]] = dataclasses.field(default_factory=dict)
    data_files: dict[str, LayerFacts] = dataclasses.field(default_factory=dict)
    after: dict[str, LayerFacts] = dataclasses.field(default_factory=dict)
    stats: dict[str, BlockStats] = dataclasses.field(default_factory=dict)
    resolved: dict[str, Layer] = dataclasses.field(default_factory=dict)
    claims: GuestClaims | None = None
    guest_doubt: Doubt | None = None
    doubts: list[Doubt] = dataclasses.field(default_factory=list)
    #: parts that cost a deadline, or what libvirt allows an agent
    missed: set[Part] = dataclasses.field(default_factory=set)

    @property
    def storage_answers(self) -> bool:
        """Whether a look at every image of it came back in time."""
        looked = [facts for chain in self.layers.values() for facts in chain]
        looked += self.data_files.values()
        return not any(f.code in ("storage-unresponsive", "audit-deadline") for f in looked)

    @property
    def hypervisor_answers(self) -> bool:
        """Whether nothing is known yet against its QEMU."""
        return not any(doubt.code == "qemu-unresponsive" for doubt in self.doubts)

    @property
    def may_be_asked(self) -> bool:
        """Whether a libvirt block call may go to this domain.

        Never to one that is not running, nor to one whose files did not answer a stat: on hung
        storage such a call freezes ``virsh list`` for every client (libvirt 9.0, measured).
        """
        return (
            self.domain is not None
            and self.domain.state in _ASKED_STATES
            and self.storage_answers
            and self.hypervisor_answers
        )

    def sighting(self) -> Sighting:
        """What was seen, once the last phase is over."""
        disks = {
            disk.target: DiskSighting(
                layers=self.layers.get(disk.target, ()),
                data_file=self.data_files.get(disk.target),
                after=self.after.get(disk.target),
                stats=self.stats.get(disk.target),
                resolved=self.resolved.get(disk.target),
            )
            for disk in (self.domain.disks if self.domain else ())
        }
        return Sighting(
            uuid=self.uuid,
            name=self.name,
            as_of=self.as_of,
            domain=self.domain,
            disks=disks,
            claims=self.claims,
            guest_doubt=self.guest_doubt,
            doubts=tuple(self.doubts),
        )

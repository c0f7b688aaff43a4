# SPDX-License-Identifier: Apache-2.0
"""One moment of a domain, seen by everybody: guest, host, libvirt, agent, and the product.

A play takes observations; the tests compare what stands in them. So guests boot and act in the
background, two at a time, and each fact is asserted by a test of its own.
"""

import dataclasses
import json
import pathlib
import time
from typing import Any

import libvirt

from tests.lab import product, storage
from tests.lab.machine import Filesystem, Machine, Numbers

#: the work directory in what is saved
NEUTRAL = "/var/lib/nova/instances"


@dataclasses.dataclass(frozen=True)
class DiskFacts:
    """What is known of a disk without the product."""

    #: what the host's file system holds, as du counts; None without a file
    allocated: int | None
    #: the same of the file under a loop device
    under: int | None
    length: int | None
    blkinfo: Numbers | None
    blkinfo_error: int
    stats: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Observation:
    """See the module's docstring."""

    domain: str
    uuid: str
    stack: str
    label: str
    console: pathlib.Path
    xml: str
    truth: dict[str, Filesystem]
    disks: dict[str, DiskFacts]
    replies: dict[str, Any]
    audit: product.Answer
    explain: dict[str, product.Answer]
    #: how long the product took to audit, in seconds
    seconds: float
    #: what a step of the play measured beside
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def instance(self) -> dict[str, Any]:
        """The domain's entry in the audit."""
        for instance in self.audit.json["instances"]:
            if instance["uuid"] == self.uuid:
                entry: dict[str, Any] = instance
                return entry
        raise AssertionError(f"{self.domain} is not in the audit: {self.audit.errors}")

    def audited(self, target: str) -> dict[str, Any]:
        """The disk's entry in the audit."""
        for disk in self.instance["disks"]:
            if disk["target"] == target:
                entry: dict[str, Any] = disk
                return entry
        raise AssertionError(f"{self.domain} {target} is not in the audit")

    def codes(self, target: str = "") -> set[str]:
        """The findings of a disk, or of the instance."""
        found = self.audited(target) if target else self.instance
        return {finding["code"] for finding in found["findings"]}

    def explained(self, target: str) -> dict[str, Any]:
        return self.explain[target].json

    def describe(self) -> str:
        """What a failing test shows."""
        lines = [f"{self.stack} {self.domain} {self.label}, console: {self.console}"]
        for target, facts in self.disks.items():
            said = facts.blkinfo or f"error {facts.blkinfo_error}"
            lines.append(f"  {target}: domblkinfo {said}, du {facts.allocated}, ls {facts.length}")
            lines.append(f"    domstats {facts.stats}")
        for target, answer in self.explain.items():
            start = answer.output.find('"domblkinfo"')
            lines.append(f"  explain {target}: {answer.status} {answer.output[start:][:600]}")
        lines += [f"  truth: {found}" for found in self.truth.values()]
        lines.append(f"  agent: {json.dumps(self.replies)[:4000]}")
        lines.append(f"  audit: {self.audit.status} {self.audit.output[:9000]}")
        lines.append(f"         {self.audit.errors[:2000]}")
        return "\n".join(lines)

    def saved(self) -> str:
        """The raw facts as JSON for tests that need no guest."""
        workdir = str(self.console.parent)
        truth = {point: dataclasses.asdict(found) for point, found in self.truth.items()}
        facts = {
            "domain_xml": self.xml,
            **{name.removeprefix("guest-get-"): r for name, r in self.replies.items()},
            "truth": truth,
            "disks_on_host": {t: dataclasses.asdict(d) for t, d in self.disks.items()},
        }
        facts["info"] = facts.pop("guest-info", None)
        return json.dumps(facts, indent=1, sort_keys=True).replace(workdir, NEUTRAL) + "\n"


def disk_facts(machine: Machine, target: str, stats: dict[str, Any]) -> DiskFacts:
    """What host and libvirt say of one disk."""
    disk = machine.disks[target]
    path = machine.path(target)
    allocated = under = length = None
    if disk.storage in ("file", "volume") and path.exists():
        allocated = machine.allocated(target)
    if disk.storage == "block":
        under = path.with_suffix(".disk").stat().st_blocks * 512
    if disk.storage in ("file", "volume", "block") and path.exists():
        length = storage.length(path)
    blkinfo, error = None, 0
    try:
        blkinfo = machine.block_info(target)
    except libvirt.libvirtError as refusal:
        error = refusal.get_error_code()
    return DiskFacts(allocated, under, length, blkinfo, error, stats)


def take(
    machine: Machine,
    label: str,
    *,
    guest: bool = False,
    agent: bool = False,
    explain: tuple[str, ...] = (),
    targets: tuple[str, ...] | None = None,
) -> Observation:
    """Look at a domain from all sides.

    The host's bytes are counted before and after: what moved meanwhile proves nothing, so it is
    looked at once more.
    """
    chosen = targets if targets is not None else tuple(machine.disks)
    for _ in range(4):
        truth = machine.truth() if guest else {}
        disks = _disks(machine, chosen)
        replies = _replies(machine) if agent else {}
        began = time.monotonic()
        audit = product.audit(machine.hypervisor.uri, machine.spec.uuid)
        seconds = time.monotonic() - began
        again = _disks(machine, chosen)
        held = {t: d.allocated for t, d in disks.items()}
        if held == {t: d.allocated for t, d in again.items()} and (
            not guest or truth == machine.truth()
        ):
            break
        time.sleep(1)
    else:
        raise AssertionError(f"{machine.spec.name} {label} does not come to rest")
    return Observation(
        domain=machine.spec.name,
        uuid=machine.spec.uuid,
        stack=machine.hypervisor.stack,
        label=label,
        console=machine.console,
        xml=machine.domain.XMLDesc(0),
        truth=truth,
        disks=disks,
        replies=replies,
        audit=audit,
        explain={t: product.explain(machine.hypervisor.uri, machine.spec.uuid, t) for t in explain},
        seconds=seconds,
    )


def _disks(machine: Machine, targets: tuple[str, ...]) -> dict[str, DiskFacts]:
    stats = machine.block_stats()
    return {target: disk_facts(machine, target, stats.get(target, {})) for target in targets}


def _replies(machine: Machine) -> dict[str, Any]:
    commands = ("guest-get-fsinfo", "guest-get-disks", "guest-info")
    return {command: machine.agent(command) for command in commands}

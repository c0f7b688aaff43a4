# SPDX-License-Identifier: Apache-2.0
"""The story of one disk, as data: every number that somebody may have read, and where it is from.

In the order in which a person would debug it: what libvirt prints and what made libvirt print
it, what the storage says, the chain below, what the guest claims, and the verdict with its
arithmetic written out. ``render/story.py`` makes text of it.
"""

from __future__ import annotations

import datetime

import msgspec

from nova_diskaudit import blockinfo, verdict
from nova_diskaudit.attribute import DiskClaims, claims_of_disk
from nova_diskaudit.audit.observer import Observer
from nova_diskaudit.audit.options import AuditError, Options
from nova_diskaudit.conclude import (
    conclude_disk,
    conclude_instance,
    place_filesystems,
    top_layer,
)
from nova_diskaudit.facts import (
    BlockInfo,
    DiskDefinition,
    DiskSighting,
    Doubt,
    Layer,
    LayerFacts,
    Sighting,
)
from nova_diskaudit.findings import CATALOGUE, finding
from nova_diskaudit.lane.lanes import Lanes
from nova_diskaudit.record import Disk, Filesystem, Finding, Guest, LibvirtTriple, State


class DomBlkInfo(msgspec.Struct, frozen=True, kw_only=True):
    """``virsh domblkinfo``: what it prints, what was predicted, and by which branch.

    ``measured`` is None for a domain that does not run (``reason`` says so): on hung storage
    that question freezes the whole daemon, so it is never asked.
    """

    measured: blockinfo.Triple | None
    measured_at: datetime.datetime | None
    reason: str | None
    predicted: blockinfo.Triple | None
    branch: str | None
    qmp: blockinfo.Qmp | None
    cause_of_equality: str | None


class ChainLink(msgspec.Struct, frozen=True, kw_only=True):
    """One image of the chain, top first; ``kept_in`` is an external data file."""

    storage: str
    source: str | None
    format: str | None
    identity: str | None
    virtual_bytes: int | None
    host_allocated_bytes: int | None
    container_bytes: int | None
    finding: str | None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of arithmetic: ``result_bytes`` is what ``formula`` gives with its numbers in."""

    name: str
    formula: str
    result_bytes: int | None


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """A finding with what to do about it."""

    code: str
    severity: str
    message: str
    action: str


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about one disk of one domain."""

    host: str
    instance: str
    domain: str
    state: State
    as_of: datetime.datetime
    disk: Disk
    domblkinfo: DomBlkInfo
    libvirt: LibvirtTriple | None
    chain: tuple[ChainLink, ...]
    data_file: ChainLink | None
    guest: Guest
    filesystems: tuple[Filesystem, ...]
    arithmetic: tuple[Step, ...]
    findings: tuple[Advice, ...]


def explain(options: Options, instance: str, target: str) -> Story:
    """Tell the story of one disk.

    :param instance: UUID or name of a domain.
    :param target: the disk as libvirt calls it, such as ``vda``.
    :raises AuditError: without a connection, or for an unknown instance or disk.
    """
    chosen = msgspec.structs.replace(options, instances=(instance,))
    with Lanes(options.uri, state_path=options.state_path) as lanes:
        host, seen, info = Observer(lanes, chosen).disk(target)
    return tell(host, seen, target, info)


def tell(host: str, seen: Sighting, target: str, info: BlockInfo | Doubt | None) -> Story:
    """Make the story of what was seen. Pure.

    :param info: libvirt's own answer, the doubt that stands for it, or None: not asked.
    :raises AuditError: when the domain was not readable or has no such disk.
    """
    if seen.domain is None:
        doubt = seen.doubts[0] if seen.doubts else Doubt(code="domain-unreadable")
        raise AuditError(finding(doubt.code, doubt.detail).message)
    disk = next((d for d in seen.domain.disks if d.target == target), None)
    if disk is None:
        known = ", ".join(d.target for d in seen.domain.disks) or "none"
        raise AuditError(f"domain {seen.name} has no disk {target!r}; it has: {known}")
    sighting = seen.disks.get(target, DiskSighting())
    placed = place_filesystems(seen)
    concluded = conclude_disk(seen, disk, placed)
    whole = conclude_instance(seen)
    claims = claims_of_disk(target, placed) if seen.claims else None
    return Story(
        host=host,
        instance=seen.uuid,
        domain=seen.name,
        state=seen.domain.state,
        as_of=seen.as_of,
        disk=concluded,
        domblkinfo=_domblkinfo(disk, sighting, seen.domain.state, info),
        libvirt=concluded.libvirt,
        chain=tuple(
            _link(layer, facts) for layer, facts in zip(disk.layers, sighting.layers, strict=False)
        ),
        data_file=(
            _link(disk.data_file, sighting.data_file)
            if disk.data_file and sighting.data_file
            else None
        ),
        guest=whole.guest,
        filesystems=tuple(fs for fs in whole.filesystems if target in fs.disks),
        arithmetic=_arithmetic(concluded, sighting, claims),
        findings=tuple(map(_advice, dict.fromkeys((*concluded.findings, *whole.findings)))),
    )


def _domblkinfo(
    disk: DiskDefinition, sighting: DiskSighting, state: State, info: BlockInfo | Doubt | None
) -> DomBlkInfo:
    layer = top_layer(disk, sighting)
    facts = sighting.layers[0] if sighting.layers else LayerFacts()
    triple: blockinfo.Triple | None = None
    branch: str | None = None
    qmp: blockinfo.Qmp | None = None
    if sighting.stats is not None:
        qmp = blockinfo.qmp_behind(layer.storage, sighting.stats, facts)
        if qmp is not None:
            prediction = blockinfo.predict(layer.storage, layer.format, qmp)
            triple, branch = prediction.triple, prediction.branch
    elif state == "shutoff":
        shut_off = blockinfo.predict_shut_off(layer.storage, layer.format, facts)
        if shut_off is not None:
            triple, branch = shut_off
    cause = triple and blockinfo.cause_of_equality(layer.storage, layer.format, triple, qmp)
    reason = None
    if info is None:
        reason = f"not asked: the domain is {state}"
        if state in ("running", "paused"):
            reason = "not asked: its storage or its QEMU does not answer"
    elif isinstance(info, Doubt):
        reason = finding(info.code, info.detail).message
    measured = info if isinstance(info, BlockInfo) else None
    return DomBlkInfo(
        measured=_columns(measured) if measured else None,
        measured_at=measured.as_of if measured else None,
        reason=reason,
        predicted=triple,
        branch=branch,
        qmp=qmp,
        cause_of_equality=f"{cause}: {blockinfo.CAUSES[cause]}" if cause else None,
    )


def _columns(info: BlockInfo) -> blockinfo.Triple:
    return blockinfo.Triple(
        capacity=info.capacity, allocation=info.allocation, physical=info.physical
    )


def _link(layer: Layer, facts: LayerFacts) -> ChainLink:
    return ChainLink(
        storage=layer.storage,
        source=layer.source,
        format=layer.format,
        identity=facts.identity,
        virtual_bytes=facts.virtual_bytes,
        host_allocated_bytes=facts.allocated_bytes,
        container_bytes=facts.container_bytes,
        finding=finding(facts.code, facts.detail).message if facts.code else None,
    )


def _arithmetic(disk: Disk, sighting: DiskSighting, claims: DiskClaims | None) -> tuple[Step, ...]:
    """The rules of ``verdict`` with this disk's numbers in them, each line checkable by hand."""
    claims = claims or DiskClaims()
    used = sum(u for u, _ in claims.direct)
    size = sum(s for _, s in claims.direct)
    inside = max(claims.inside, default=0)
    promised, held = disk.virtual_bytes, disk.host_allocated_bytes
    steps = [
        Step(name="V, promised", formula="what the guest sees", result_bytes=promised),
        Step(
            name="A, held",
            formula=f"from {disk.host_allocated_source or 'nowhere: unknown'}",
            result_bytes=held,
        ),
        Step(
            name="Gd, used by filesystems that own a region of this disk",
            formula=" + ".join(str(u) for u, _ in claims.direct) or "0",
            result_bytes=used,
        ),
        Step(
            name="Sd, size of those filesystems",
            formula=" + ".join(str(s) for _, s in claims.direct) or "0",
            result_bytes=size,
        ),
        Step(
            name="Gi, largest of those that share blocks here",
            formula=f"max({', '.join(str(u) for u in claims.inside)})" if claims.inside else "0",
            result_bytes=inside,
        ),
    ]
    if promised is not None:
        steps += [
            Step(
                name="used.low = min(V, Gd + Gi)",
                formula=f"min({promised}, {used} + {inside})",
                result_bytes=disk.used.low,
            ),
            Step(
                name="used.high = min(V, Gd + max(0, V - Sd))",
                formula=f"min({promised}, {used} + max(0, {promised} - {size}))",
                result_bytes=disk.used.high,
            ),
        ]
        if disk.reclaimable.how != "none" and held is not None and sighting.layers:
            beside = verdict.metadata_bytes(held, sighting.layers[0].host_block_bytes)
            steps += [
                Step(
                    name="m, what the host counts beside the data (A / 64 + 16 blocks)",
                    formula=str(beside),
                    result_bytes=beside,
                ),
                Step(
                    name="reclaimable.high = min(A, max(0, V - Gd) + m)",
                    formula=f"min({held}, max(0, {promised} - {used}) + {beside})",
                    result_bytes=disk.reclaimable.high,
                ),
            ]
    if disk.used.bytes is not None and disk.reclaimable.estimate is not None and held is not None:
        steps.append(
            Step(
                name="reclaimable.estimate = min(reclaimable.high, max(0, A - used))",
                formula=f"min({disk.reclaimable.high}, max(0, {held} - {disk.used.bytes}))",
                result_bytes=disk.reclaimable.estimate,
            )
        )
    return tuple(steps)


def _advice(item: Finding) -> Advice:
    return Advice(
        code=item.code,
        severity=item.severity,
        message=item.message,
        action=CATALOGUE[item.code].action,
    )

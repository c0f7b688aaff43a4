# SPDX-License-Identifier: Apache-2.0
"""From what one sweep saw to what is said about it: sightings in, the report out.

Here the parts of the core meet: attribution, the verdict, libvirt's arithmetic and the
catalogue. Pure: the same sightings always give the same report.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nova_diskaudit import blockinfo, record, verdict
from nova_diskaudit.attribute import Placed, attribute, claims_of_disk
from nova_diskaudit.facts import (
    DiskDefinition,
    DiskSighting,
    Domain,
    Doubt,
    HostSighting,
    Layer,
    LayerFacts,
    Sighting,
    StorageSighting,
)
from nova_diskaudit.findings import finding
from nova_diskaudit.kind import kind_of, volume_id
from nova_diskaudit.record import Disk, Filesystem, Finding, Guest, Instance, LibvirtTriple

_NO_FACTS = LayerFacts()
_SIZE_UNKNOWN = "virtual-size-unknown"
_NO_LAYER = Layer(storage="none", source=None, format=None)


def conclude(seen: HostSighting) -> record.HostReport:
    """Judge everything one sweep saw."""
    return conclude_host(seen, tuple(conclude_instance(sighting) for sighting in seen.sightings))


def conclude_host(seen: HostSighting, instances: tuple[Instance, ...]) -> record.HostReport:
    """The report of a host whose domains are judged already; ``seen.sightings`` is not read."""
    return record.HostReport(
        schema=record.SCHEMA_VERSION,
        host=seen.host,
        as_of=seen.as_of,
        storages=_storages(seen.storages, instances),
        instances=instances,
        findings=_once(_explained(doubt) for doubt in seen.doubts),
    )


def conclude_instance(seen: Sighting) -> Instance:
    """Judge one domain."""
    findings = [_explained(doubt) for doubt in seen.doubts]
    domain = seen.domain
    placed = place_filesystems(seen)
    if domain is not None and seen.guest_doubt is not None:
        findings.append(_explained(seen.guest_doubt))
        # Nobody expects a word from a guest that does not run.
        if domain.guest_stats == "required" and seen.guest_doubt.code != "guest-not-running":
            findings.append(finding("guest-stats-missing", seen.guest_doubt.code))
    findings += _guest_findings(placed)
    return Instance(
        uuid=seen.uuid,
        domain=seen.name,
        state=domain.state if domain else "unknown",
        as_of=seen.as_of,
        project_id=domain.project_id if domain else None,
        user_id=domain.user_id if domain else None,
        flavor=domain.flavor if domain else None,
        guest=_guest(seen),
        filesystems=tuple(_filesystem(item) for item in placed),
        findings=_once(findings),
        disks=tuple(conclude_disk(seen, disk, placed) for disk in domain.disks) if domain else (),
    )


def conclude_disk(seen: Sighting, disk: DiskDefinition, placed: tuple[Placed, ...]) -> Disk:
    """Judge one disk of one domain, with the domain's filesystems already placed."""
    sighting = seen.disks.get(disk.target, DiskSighting())
    layer = top_layer(disk, sighting)
    before = sighting.layers[0] if sighting.layers else _NO_FACTS
    now = sighting.after or before
    kind = kind_of(seen.uuid, disk)
    size = virtual_bytes(disk, sighting)
    allocated, source, doubt = _allocated(disk, sighting)
    claims = claims_of_disk(disk.target, placed) if seen.claims else None
    used = verdict.judge_used(size, allocated, claims)
    discard = disk.discard == "unmap"
    reclaimable = verdict.judge_reclaimable(
        size,
        _holding(before, allocated),
        _holding(sighting.after, allocated) if sighting.after else None,
        claims,
        used,
        raw=layer.format == "raw",
        discard=discard,
    )
    if kind in ("config", "cdrom"):
        reclaimable = record.Reclaimable(low=0, high=0, estimate=None, how="none")
    backing, backing_doubt = _backing_bytes(disk, sighting)
    findings = [_explained(d) for d in (doubt, backing_doubt) if d]
    findings += _storage_findings(disk, sighting, now)
    if size is None and disk.layers and not any(f.severity == "error" for f in findings):
        findings.append(
            finding(_SIZE_UNKNOWN, before.detail if before.code == _SIZE_UNKNOWN else None)
        )
    findings += _libvirt_findings(disk, sighting, seen.domain)
    if verdict.is_worthwhile(reclaimable, size) and reclaimable.how != "none":
        detail = f"held {allocated} bytes, used {used.bytes} by the guest's word"
        findings.append(finding("untrimmed", detail))
        if not discard:
            findings.append(finding("discard-disabled"))
    findings += [f for item in placed if disk.target in item.targets for f in _claim_findings(item)]
    return Disk(
        target=disk.target,
        serial=disk.serial,
        kind=kind,
        storage=disk.layers[0].storage if disk.layers else layer.storage,
        source=layer.source,
        format=layer.format,
        identity=f"volume:{volume_id(disk)}" if kind == "volume" else now.identity,
        storage_identity=now.storage_identity,
        virtual_bytes=size,
        host_allocated_bytes=allocated,
        host_allocated_source=source,
        container_bytes=now.container_bytes,
        high_water_bytes=(sighting.stats.allocation or None) if sighting.stats else None,
        backing_bytes=backing,
        libvirt=_triple(sighting),
        guest_used_bytes=claims.used_bytes if claims else None,
        guest_total_bytes=claims.total_bytes if claims else None,
        used=used,
        reclaimable=reclaimable,
        findings=_once(findings),
    )


def top_layer(disk: DiskDefinition, sighting: DiskSighting) -> Layer:
    """What the top of the disk really is: for a pool's volume, what libvirt made of it."""
    if sighting.resolved is not None:
        return sighting.resolved
    return disk.layers[0] if disk.layers else _NO_LAYER


def virtual_bytes(disk: DiskDefinition, sighting: DiskSighting) -> int | None:
    """The size the guest sees, in bytes: QEMU's word while it runs, else the image's."""
    if sighting.stats and sighting.stats.capacity:
        return sighting.stats.capacity
    return sighting.layers[0].virtual_bytes if sighting.layers else None


# --- guest ------------------------------------------------------------------------------------


def place_filesystems(seen: Sighting) -> tuple[Placed, ...]:
    """Trace the filesystems of one domain to its disks; empty when the guest said nothing."""
    if seen.domain is None or seen.claims is None:
        return ()
    disks = seen.domain.disks
    kinds = [kind_of(seen.uuid, disk) for disk in disks]
    return attribute(
        disks,
        {d.target: virtual_bytes(d, seen.disks.get(d.target, DiskSighting())) for d in disks},
        sum(kind in ("local", "volume") for kind in kinds),
        seen.claims,
    )


def _guest(seen: Sighting) -> Guest:
    if seen.claims is None:
        doubt = seen.guest_doubt or Doubt(code="domain-unreadable")
        return Guest(state=doubt.code)
    return Guest(state="answered", agent_version=seen.claims.agent_version, as_of=seen.claims.as_of)


def _filesystem(item: Placed) -> Filesystem:
    fs = item.filesystem
    return Filesystem(
        name=fs.name,
        mountpoint=fs.mountpoint,
        type=fs.type,
        used_bytes=_shown(fs.used_bytes),
        total_bytes=_shown(fs.size_bytes if fs.size_bytes is not None else fs.total_bytes),
        disks=item.targets,
        place=item.place,
    )


def _shown(claim: int | None) -> int | None:
    """A claim as it may travel: what no 64-bit integer of a database holds stays behind."""
    return claim if claim is None or -(2**63) <= claim < 2**63 else None


def _guest_findings(placed: Iterable[Placed]) -> list[Finding]:
    findings = []
    for item in placed:
        fs = item.filesystem
        findings += _claim_findings(item)
        if item.place == "elsewhere":
            findings.append(finding("filesystem-unattributed", fs.name))
        if fs.used_bytes is None and item.place != "ignored":
            findings.append(finding("agent-without-byte-counts", fs.name))
    return findings


def _claim_findings(item: Placed) -> list[Finding]:
    fs = item.filesystem
    if item.implausible:
        claim = f"{fs.name}: used {fs.used_bytes}, total {fs.total_bytes}"
        return [finding("guest-claim-implausible", claim[:300])]
    if item.exceeds:
        return [finding("guest-claim-exceeds-disk", f"{fs.name}: used {fs.used_bytes}")]
    if item.place == "spans":
        return [finding("filesystem-spans-disks", f"{fs.name} on {', '.join(item.targets)}")]
    return []


# --- storage ----------------------------------------------------------------------------------


def _allocated(
    disk: DiskDefinition, sighting: DiskSighting
) -> tuple[int | None, str | None, Doubt | None]:
    """Bytes held for the top layer, where the number is from, and what is odd about it."""
    if not sighting.layers:
        return None, None, None
    now = sighting.after or sighting.layers[0]
    if not now.has_external_data:
        return now.allocated_bytes, now.allocated_source, None
    data = sighting.data_file
    if now.allocated_bytes is not None and data and data.allocated_bytes is not None:
        return now.allocated_bytes + data.allocated_bytes, "stat", Doubt(code="external-data-file")
    if sighting.stats and sighting.stats.physical:
        # actual-size sums the metadata file and the data file (QEMU 7.2 block.c,
        # bdrv_co_get_allocated_file_size through the children).
        return sighting.stats.physical, "qemu", Doubt(code="external-data-file")
    return None, None, Doubt(code="external-data-unknown")


def _holding(facts: LayerFacts, allocated_bytes: int | None) -> LayerFacts:
    """The facts of the verdict: an external data file makes their own count too small."""
    if facts.has_external_data:
        return msgspec.structs.replace(
            facts, allocated_bytes=allocated_bytes, allocated_source="qemu"
        )
    return facts


def _backing_bytes(disk: DiskDefinition, sighting: DiskSighting) -> tuple[int | None, Doubt | None]:
    """Bytes held by the chain below the top layer; 0 when there is none."""
    if not sighting.layers:
        return None, None
    top, below = sighting.layers[0], sighting.layers[1:]
    if below:
        held = [facts.allocated_bytes for facts in below]
        if not disk.chain_complete or None in held:
            return None, Doubt(code="shared-backing", detail="its bytes are not known")
        return sum(n for n in held if n is not None), Doubt(code="shared-backing")
    if top.has_backing and not disk.chain_complete:
        return None, Doubt(code="backing-chain-unknown")
    known_alone = top.has_backing is False or disk.layers[0].format == "raw"
    if disk.layers[0].storage in ("file", "block") and (known_alone or disk.chain_complete):
        return 0, None
    return None, None


def _storage_findings(
    disk: DiskDefinition, sighting: DiskSighting, now: LayerFacts
) -> list[Finding]:
    if not disk.layers:
        return [finding("no-medium")]
    findings = []
    for facts in sighting.layers:
        # A size that the image does not tell is missed only if nobody else told it.
        if facts.code not in (None, _SIZE_UNKNOWN):
            findings.append(finding(facts.code, facts.detail))
    if sighting.data_file is not None and sighting.data_file.code is not None:
        findings.append(finding(sighting.data_file.code, sighting.data_file.detail))
    if now.fully_reserved:
        findings.append(finding("preallocated"))
    if now.internal_snapshots:
        findings.append(finding("internal-snapshots", f"{now.internal_snapshots} of them"))
    if now.shared_bytes:
        at_least = "at least " if now.shared_is_minimum else ""
        findings.append(finding("reflink-shared", f"{at_least}{now.shared_bytes} bytes"))
    return findings


def _libvirt_findings(
    disk: DiskDefinition, sighting: DiskSighting, domain: Domain | None
) -> list[Finding]:
    """Why the numbers that others print mislead about this disk."""
    if not disk.layers or not sighting.layers or domain is None:
        return []
    layer, facts = top_layer(disk, sighting), sighting.layers[0]
    if sighting.stats is None:
        if domain.state != "shutoff":
            return []
        shut_off = blockinfo.predict_shut_off(layer.storage, layer.format, facts)
        if shut_off is None:
            return []
        triple, qmp = shut_off[0], None
    else:
        qmp = blockinfo.qmp_behind(layer.storage, sighting.stats, facts)
        if qmp is None:
            return [finding("evidence-missing")]
        triple = blockinfo.predict(layer.storage, layer.format, qmp).triple
    findings = []
    if qmp and blockinfo.allocation_is_high_water_mark(layer.storage, layer.format, qmp):
        findings.append(finding("allocation-is-high-water-mark", f"offset {qmp.wr_highest_offset}"))
    cause = blockinfo.cause_of_equality(layer.storage, layer.format, triple, qmp)
    if cause is not None:
        findings.append(finding("triple-equal", f"{cause}: {blockinfo.CAUSES[cause]}"))
    return findings


def _triple(sighting: DiskSighting) -> LibvirtTriple | None:
    stats = sighting.stats
    if stats is None:
        return None
    return LibvirtTriple(
        capacity=stats.capacity,
        allocation=stats.allocation,
        physical=stats.physical,
        as_of=stats.as_of,
    )


def _storages(
    seen: Iterable[StorageSighting], instances: tuple[Instance, ...]
) -> tuple[record.Storage, ...]:
    promised: dict[str | None, dict[str, int]] = {}
    for instance in instances:
        for disk in instance.disks:
            if disk.virtual_bytes is not None:
                key = disk.identity or f"{instance.uuid}/{disk.target}"
                promised.setdefault(disk.storage_identity, {})[key] = disk.virtual_bytes
    storages = []
    for item in seen:
        facts, found = item.facts, item.instances
        findings = [_explained(item.doubt)] if item.doubt else []
        if found is not None and not found.complete:
            findings.append(finding("storage-scan-incomplete"))
        storages.append(
            record.Storage(
                identity=facts.identity,
                kind=facts.kind,
                path=facts.path,
                fs_type=facts.fs_type,
                total_bytes=facts.total_bytes,
                free_bytes=facts.free_bytes,
                inodes_free=facts.inodes_free,
                virtual_sum_bytes=sum(promised.get(facts.identity, {}).values()),
                image_cache_bytes=found.image_cache_bytes if found else None,
                managed_save_bytes=item.managed_save_bytes,
                leftovers=found.leftovers if found else (),
                instances_path=item.instances_path,
                findings=tuple(findings),
            )
        )
    return tuple(storages)


# --- findings ---------------------------------------------------------------------------------


def _explained(doubt: Doubt) -> Finding:
    return finding(doubt.code, doubt.detail)


def _once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each code once, in order: the first is told, the number of the others is added."""
    kept: dict[str, list[Finding]] = {}
    for item in findings:
        kept.setdefault(item.code, []).append(item)
    return tuple(
        same[0]
        if len(set(same)) == 1
        else Finding(
            code=code,
            severity=same[0].severity,
            message=f"{same[0].message} and {len(set(same)) - 1} more",
        )
        for code, same in kept.items()
    )

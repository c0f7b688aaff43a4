# SPDX-License-Identifier: Apache-2.0
"""The filesystems that carry the disks of a host, and what else of Nova's lies on them."""

from __future__ import annotations

import os.path
from collections.abc import Collection, Iterable, Sequence

import msgspec

from nova_diskaudit.audit.images import Images
from nova_diskaudit.audit.options import Options
from nova_diskaudit.audit.question import Questions
from nova_diskaudit.facts import Doubt, Sighting, StorageFacts, StorageSighting
from nova_diskaudit.lane import operations
from nova_diskaudit.paths import mapped

_INCOMPLETE = "storage-scan-incomplete"
#: Nova's own default (``instances_path`` of nova.conf, with the usual ``state_path``)
_USUAL_INSTANCES_PATH = "/var/lib/nova/instances"


def look_at_storages(
    questions: Questions,
    images: Images,
    options: Options,
    sightings: Sequence[Sighting],
    known_uuids: Sequence[str],
    *,
    scan: bool = True,
) -> tuple[StorageSighting, ...]:
    """Every storage below the sighted disks, and that of Nova's instances, once.

    :param known_uuids: all domains of the host, sighted or not: what belongs to one of them is
        no leftover.
    :param scan: look for Nova's image cache, leftovers and saved domains too.
    """
    found: dict[str, StorageSighting] = {}
    for identity, directory in _directories(images, sightings).items():
        facts = _filesystem(questions, directory)
        found[identity] = (
            _silent(images, identity, directory, facts)
            if isinstance(facts, Doubt)
            else StorageSighting(facts=facts)
        )
    for path in _instances_paths(images, options, sightings):
        if not images.hangs(path):
            _add_instances_path(questions, found, path, known_uuids, scan=scan)
    if scan and options.managed_save_path and not images.hangs(options.managed_save_path):
        _add_managed_save(questions, found, options.managed_save_path)
    hung = Doubt(code="storage-unresponsive")
    return (
        *found.values(),
        *(_silent(images, f"mount:{m}", m, hung) for m in sorted(images.hung.mounts)),
    )


def as_scanned(
    found: StorageSighting, before: StorageSighting | None, known_uuids: Collection[str]
) -> StorageSighting:
    """A storage whose directories were not searched this time: they stand as they were found.

    But for what belongs to a domain now. Nova undefines a domain and defines it anew whenever it
    starts or reboots a server; a search in that moment finds a directory without a domain.
    """
    if before is None:
        return found
    instances = before.instances
    if instances is not None:
        left = tuple(one for one in instances.leftovers if one.name not in known_uuids)
        instances = msgspec.structs.replace(instances, leftovers=left)
    return msgspec.structs.replace(
        found,
        instances=instances,
        managed_save_bytes=before.managed_save_bytes,
        doubt=found.doubt or before.doubt,
    )


def _directories(images: Images, sightings: Iterable[Sighting]) -> dict[str, str]:
    """One directory on each storage that answered, by the identity of the storage."""
    seen: dict[str, str] = {}
    for sighting in sightings:
        for disk in sighting.domain.disks if sighting.domain else ():
            looked = sighting.disks[disk.target].layers
            for layer, facts in zip(disk.layers, looked, strict=False):
                identity = facts.storage_identity
                if identity is None or identity in seen or layer.storage != "file":
                    continue
                path = images.path(layer)
                if path and not images.hangs(path):
                    seen[identity] = os.path.dirname(path)
    return seen


def _instances_paths(
    images: Images, options: Options, sightings: Iterable[Sighting]
) -> Iterable[str]:
    """Where Nova keeps instances: as configured, else the parent of ``<uuid>/disk``.

    A host without an instance tells nothing; there it is Nova's default, if that is there.
    """
    if options.instances_path:
        return {options.instances_path}
    paths = set()
    for sighting in sightings:
        for disk in sighting.domain.disks if sighting.domain else ():
            looked = sighting.disks[disk.target].layers
            path = images.path(disk.layers[0]) if disk.layers else None
            directory = os.path.dirname(path or "")
            if os.path.basename(directory) == sighting.uuid and looked and looked[0].identity:
                paths.add(os.path.dirname(directory))
    if not paths and not options.instances:
        paths.add(mapped(_USUAL_INSTANCES_PATH, options.path_map))
    return sorted(paths)


def _filesystem(questions: Questions, path: str) -> StorageFacts | Doubt:
    return questions.ask(
        operations.FILESYSTEM,
        path,
        seconds=questions.deadlines.storage,
        missed="storage-unresponsive",
    )


def _add_instances_path(
    questions: Questions,
    found: dict[str, StorageSighting],
    path: str,
    known_uuids: Sequence[str],
    *,
    scan: bool,
) -> None:
    where = _filesystem(questions, path)
    if isinstance(where, Doubt):
        return
    sighting = found.get(where.identity, StorageSighting(facts=where))
    sighting = msgspec.structs.replace(sighting, instances_path=path)
    if scan:
        answer = questions.ask(
            operations.INSTANCES_DIRECTORY,
            path,
            frozenset(known_uuids),
            seconds=questions.deadlines.scan,
            missed=_INCOMPLETE,
        )
        sighting = (
            msgspec.structs.replace(sighting, doubt=answer)
            if isinstance(answer, Doubt)
            else msgspec.structs.replace(sighting, instances=answer)
        )
    found[where.identity] = sighting


def _add_managed_save(questions: Questions, found: dict[str, StorageSighting], path: str) -> None:
    where = _filesystem(questions, path)
    if isinstance(where, Doubt) or where.identity not in found:
        return
    answer = questions.ask(
        operations.MANAGED_SAVE, path, seconds=questions.deadlines.scan, missed=_INCOMPLETE
    )
    sighting = found[where.identity]
    found[where.identity] = (
        msgspec.structs.replace(sighting, doubt=answer)
        if isinstance(answer, Doubt)
        else msgspec.structs.replace(sighting, managed_save_bytes=answer)
    )


def _silent(images: Images, identity: str, path: str, doubt: Doubt) -> StorageSighting:
    """A storage that told nothing of itself."""
    mount = next((m for m in images.mounts if m.path == path), None)
    return StorageSighting(
        facts=StorageFacts(
            identity=identity,
            kind="unknown",
            path=path,
            fs_type=mount.fs_type if mount else None,
            total_bytes=None,
            free_bytes=None,
            inodes_free=None,
        ),
        doubt=doubt,
    )

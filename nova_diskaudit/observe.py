# SPDX-License-Identifier: Apache-2.0
"""One sweep over a host: which questions go through which lane, and in which order.

Numbers first: the inventory, then a look at every image file. Only a domain whose files
answered is asked for libvirt's block numbers, and only a domain whose QEMU answered is asked
about its guest. Every question has a deadline; no answer is an answer too (a ``Doubt``), and the
sweep goes on with the next domain. At the end of the time given, what is known is returned.

No conclusion is drawn here; ``conclude`` does that.
"""

from __future__ import annotations

import dataclasses
import datetime
import os.path
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from nova_diskaudit.facts import (
    BlockInfo,
    BlockStats,
    DiskSighting,
    Domain,
    Doubt,
    GuestClaims,
    HostSighting,
    InstancesDirectory,
    Layer,
    LayerFacts,
    Mount,
    Process,
    Sighting,
    StorageFacts,
    StorageSighting,
)
from nova_diskaudit.findings import CATALOGUE
from nova_diskaudit.interview import interview
from nova_diskaudit.lane import operations
from nova_diskaudit.lane.errors import DeadlineMissed, LaneBroken, LaneRefused, NoToken
from nova_diskaudit.lane.lanes import Lanes
from nova_diskaudit.lane.operations import Operation

# Seconds a healthy host needs a small fraction of; a miss costs this much once.
_INVENTORY_SECONDS = 15.0
_DESCRIBE_SECONDS = 3.0
_STORAGE_SECONDS = 2.0
_SCAN_SECONDS = 10.0
_STATS_SECONDS = 5.0
# libvirt synchronises with the agent first, for up to 10 s that no timeout of ours shortens.
_AGENT_SYNC_SECONDS = 10.0
_GUEST_WORKERS = 2
# Domains that have a QEMU to ask. A suspended or crashed one may never answer.
_ASKED_STATES = ("running", "paused")

_T = TypeVar("_T")


class AuditError(Exception):
    """The sweep cannot begin; the message is one line that says what to do."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to sweep, and how long it may take (seconds).

    ``instances`` are UUIDs or domain names; empty means all. ``path_map`` are pairs of prefixes:
    a path of the domain XML and where this process finds it.
    """

    uri: str
    instances: tuple[str, ...] = ()
    ask_guests: bool = True
    timeout: float = 60.0
    path_map: tuple[tuple[str, str], ...] = ()
    instances_path: str | None = None
    managed_save_path: str | None = None
    state_path: object | None = None
    agent_timeout: float = 3.0
    progress: Callable[[str, int, int], None] | None = None


@dataclasses.dataclass
class _Subject:
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
    claims: GuestClaims | None = None
    guest_doubt: Doubt | None = None
    doubts: list[Doubt] = dataclasses.field(default_factory=list)

    @property
    def storage_answers(self) -> bool:
        """Whether a stat of every file came back: else no block call may go to this domain."""
        looked = [f for facts in self.layers.values() for f in facts]
        looked += self.data_files.values()
        return not any(f.code in ("storage-unresponsive", "audit-deadline") for f in looked)

    @property
    def hypervisor_answers(self) -> bool:
        return not any(d.code == "qemu-unresponsive" for d in self.doubts)


class Observer:
    """One sweep; keeps what it learns about the host's storage while it goes on."""

    def __init__(self, lanes: Lanes, options: Options) -> None:
        self._lanes = lanes
        self._options = options
        self._end = time.monotonic() + options.timeout
        self._mounts: list[Mount] = []
        self._hung_mounts: set[str] = set()
        self._hung_directories: set[str] = set()
        self._guest_denial: Doubt | None = None
        self._subjects: list[_Subject] = []
        self._uuids: list[str] = []

    # --- phases -------------------------------------------------------------------------------

    def sweep(self) -> HostSighting:
        """Look at every chosen domain and at the storages below them.

        :raises AuditError: without a connection or an inventory, or for an unknown instance.
        """
        as_of = _now()
        host = self._look()
        storages = self._storages()
        return HostSighting(
            host=host,
            as_of=as_of,
            sightings=tuple(_frozen(subject) for subject in self._subjects),
            storages=storages,
        )

    def one(self, target: str) -> tuple[str, Sighting, BlockInfo | Doubt | None]:
        """Look at the one chosen domain, and ask libvirt what ``domblkinfo`` prints of a disk.

        The last part is None for a domain that is not running: it is never asked.

        :raises AuditError: as :meth:`sweep`.
        """
        host = self._look()
        subject = self._subjects[0]
        info: BlockInfo | Doubt | None = None
        if self._may_be_asked(subject) and subject.process is not None:
            info = self._ask(
                operations.BLOCK_INFO,
                subject.uuid,
                target,
                subject.process,
                seconds=_STATS_SECONDS,
                missed="qemu-unresponsive",
                subject=subject.uuid,
            )
        return host, _frozen(subject), info

    def _look(self) -> str:
        processes: dict[str, Process] = {}

        def scan() -> None:
            mounts = self._ask(
                operations.MOUNTS, seconds=_STORAGE_SECONDS, missed="storage-unresponsive"
            )
            self._mounts = [] if isinstance(mounts, Doubt) else mounts
            found = self._ask(
                operations.PROCESSES, seconds=_STORAGE_SECONDS, missed="qemu-unresponsive"
            )
            processes.update({} if isinstance(found, Doubt) else found)

        scanning = _start(scan)  # while libvirt makes its list
        host = self._inventory()
        for done, subject in enumerate(self._subjects):
            self._describe(subject)
            self._tell("inventory", done + 1)
        scanning.join()
        for done, subject in enumerate(self._subjects):
            subject.process = processes.get(subject.uuid)
            self._probe(subject)
            self._tell("storage", done + 1)
        self._interrogate()
        return host

    def _inventory(self) -> str:
        info = self._ask(
            operations.HOST_INFO, seconds=_INVENTORY_SECONDS, missed="domain-unreadable"
        )
        listed = (
            info
            if isinstance(info, Doubt)
            else self._ask(
                operations.LIST_DOMAINS, seconds=_INVENTORY_SECONDS, missed="domain-unreadable"
            )
        )
        if isinstance(info, Doubt) or isinstance(listed, Doubt):
            detail = listed.detail if isinstance(listed, Doubt) else None
            raise AuditError(
                f"no list of domains from {self._options.uri}: {detail or 'no answer'}. Check "
                "that libvirtd or virtqemud runs and that this user may use its socket, or "
                "choose another with --connect"
            )
        self._uuids = [uuid for uuid, _ in listed]
        chosen = _choose(listed, self._options.instances)
        self._subjects = [_Subject(uuid=uuid, name=name, as_of=_now()) for uuid, name in chosen]
        return info.hostname

    def _describe(self, subject: _Subject) -> None:
        subject.as_of = _now()
        answer = self._ask(
            operations.DESCRIBE,
            subject.uuid,
            seconds=_DESCRIBE_SECONDS,
            missed="domain-unreadable",
            subject=subject.uuid,
        )
        if isinstance(answer, Doubt):
            subject.doubts.append(answer)
        else:
            subject.domain = answer

    def _probe(self, subject: _Subject) -> None:
        """Look at every image of one domain, the files of each mount in one question."""
        if subject.domain is None:
            return
        subject.as_of = _now()
        disks = subject.domain.disks
        images = [layer for disk in disks for layer in disk.layers]
        images += [disk.data_file for disk in disks if disk.data_file]
        facts = self._facts_of(subject, images)
        for disk in disks:
            subject.layers[disk.target] = tuple(facts[layer] for layer in disk.layers)
            if disk.data_file:
                subject.data_files[disk.target] = facts[disk.data_file]

    def _facts_of(self, subject: _Subject, images: Sequence[Layer]) -> dict[Layer, LayerFacts]:
        facts: dict[Layer, LayerFacts] = {}
        by_mount: dict[str, list[Layer]] = {}
        for layer in dict.fromkeys(images):
            path = self._path(layer)
            if path is not None and os.path.dirname(path) in self._hung_directories:
                facts[layer] = LayerFacts(code="storage-unresponsive")
            else:
                mount = _mount_of(path, self._mounts) if path else ""
                by_mount.setdefault(mount, []).append(layer)
        for mount, layers in by_mount.items():
            answer: list[LayerFacts] | Doubt = (
                Doubt(code="storage-unresponsive")
                if mount in self._hung_mounts
                else self._ask(
                    operations.PROBE_LAYERS,
                    layers,
                    subject.process,
                    list(self._options.path_map),
                    seconds=_STORAGE_SECONDS,
                    missed="storage-unresponsive",
                    subject=subject.uuid,
                )
            )
            if isinstance(answer, Doubt):
                if answer.code == "storage-unresponsive" and mount not in self._hung_mounts:
                    self._blame(mount, layers)
                answer = [LayerFacts(code=answer.code, detail=answer.detail)] * len(layers)
            facts.update(zip(layers, answer, strict=True))
        return facts

    def _blame(self, mount: str, layers: Iterable[Layer]) -> None:
        """Find out what hangs: the mount, or only what these directories lead to.

        A path may leave its mount through a symbolic link, and one hung target must not make
        every other domain of the root filesystem look hung.
        """
        self._hung_directories |= {os.path.dirname(self._path(layer) or "") for layer in layers}
        answer = self._ask(
            operations.FILESYSTEM, mount, seconds=_STORAGE_SECONDS, missed="storage-unresponsive"
        )
        if isinstance(answer, Doubt):
            self._hung_mounts.add(mount)

    def _interrogate(self) -> None:
        """Ask the hypervisors, and right behind them the guests, until all is said or over."""
        guests: queue.SimpleQueue[_Subject | None] = queue.SimpleQueue()
        done = 0
        counting = threading.Lock()

        def finish() -> None:
            nonlocal done
            with counting:
                done += 1
                self._tell("guests" if self._options.ask_guests else "hypervisors", done)

        def ask_hypervisors() -> None:
            for subject in self._subjects:
                self._evidence(subject)
                guests.put(subject)
            for _ in range(workers):
                guests.put(None)

        def ask_guests() -> None:
            while (subject := guests.get()) is not None:
                self._guest(subject)
                finish()

        workers = _GUEST_WORKERS if self._options.ask_guests else 1
        threads = [_start(ask_hypervisors), *(_start(ask_guests) for _ in range(workers))]
        for thread in threads:
            # Every question inside ends by its own deadline, so this does too.
            thread.join()

    def _may_be_asked(self, subject: _Subject) -> bool:
        domain = subject.domain
        return (
            domain is not None
            and domain.state in _ASKED_STATES
            and subject.storage_answers
            and subject.hypervisor_answers
        )

    def _evidence(self, subject: _Subject) -> None:
        if not self._may_be_asked(subject):
            return
        if subject.process is None:
            subject.doubts.append(
                Doubt(code="evidence-missing", detail="its QEMU process was not found in /proc")
            )
            return
        answer = self._ask(
            operations.BLOCK_STATS,
            subject.uuid,
            subject.process,
            seconds=_STATS_SECONDS,
            missed="qemu-unresponsive",
            subject=subject.uuid,
        )
        if isinstance(answer, Doubt):
            subject.doubts.append(answer)
        else:
            subject.stats = answer

    def _guest(self, subject: _Subject) -> None:
        domain = subject.domain
        if domain is None:
            return
        subject.guest_doubt = self._why_not_ask(subject, domain)
        if subject.guest_doubt is not None:
            return

        def ask(command: str) -> bytes | Doubt:
            return self._ask(
                operations.AGENT,
                subject.uuid,
                command,
                max(1, round(self._options.agent_timeout)),
                seconds=self._options.agent_timeout + _AGENT_SYNC_SECONDS,
                missed="agent-timeout",
                subject=subject.uuid,
            )

        answer = interview(ask, domain.disks)
        if isinstance(answer, Doubt):
            subject.guest_doubt = answer
            if answer.code == "guest-not-permitted":
                self._guest_denial = answer
            return
        tops = [disk.layers[0] for disk in domain.disks if disk.layers]
        again = self._facts_of(subject, tops)
        for disk in domain.disks:
            if disk.layers and again[disk.layers[0]].code is None:
                subject.after[disk.target] = again[disk.layers[0]]
        subject.claims = answer

    def _why_not_ask(self, subject: _Subject, domain: Domain) -> Doubt | None:
        if not self._options.ask_guests:
            return Doubt(code="guest-not-asked")
        if domain.state != "running":
            return Doubt(code="guest-not-running", detail=domain.state)
        if domain.channel == "absent":
            return Doubt(code="agent-absent")
        if domain.channel == "disconnected":
            return Doubt(code="agent-disconnected")
        if not subject.storage_answers:
            return Doubt(code="storage-unresponsive")
        if not subject.hypervisor_answers:
            return Doubt(code="qemu-unresponsive")
        return self._guest_denial

    # --- storages -----------------------------------------------------------------------------

    def _storages(self) -> tuple[StorageSighting, ...]:
        """Every filesystem that carries a disk, with what else of Nova's lies on it."""
        directories: dict[str, str] = {}
        for subject in self._subjects:
            for disk in subject.domain.disks if subject.domain else ():
                facts = subject.layers.get(disk.target, ())
                for layer, fact in zip(disk.layers, facts, strict=True):
                    path = self._path(layer)
                    if path and fact.storage_identity and layer.storage == "file":
                        directories.setdefault(fact.storage_identity, os.path.dirname(path))
        found: dict[str, StorageSighting] = {}
        for directory in directories.values():
            facts_of = self._filesystem(directory)
            if isinstance(facts_of, StorageFacts):
                found[facts_of.identity] = StorageSighting(facts=facts_of)
        for path in self._instances_paths():
            self._add_instances_directory(found, path)
        if self._options.managed_save_path:
            self._add_managed_save(found, self._options.managed_save_path)
        hung = [self._hung_storage(mount) for mount in sorted(self._hung_mounts)]
        return (*found.values(), *hung)

    def _filesystem(self, path: str) -> StorageFacts | Doubt:
        return self._ask(
            operations.FILESYSTEM, path, seconds=_STORAGE_SECONDS, missed="storage-unresponsive"
        )

    def _instances_paths(self) -> set[str]:
        """Where Nova keeps instances: as configured, else the parent of ``<uuid>/disk``."""
        if self._options.instances_path:
            return {self._options.instances_path}
        paths = set()
        for subject in self._subjects:
            for disk in subject.domain.disks if subject.domain else ():
                path = self._path(disk.layers[0]) if disk.layers else None
                directory = os.path.dirname(path or "")
                if os.path.basename(directory) == subject.uuid and subject.storage_answers:
                    paths.add(os.path.dirname(directory))
        return paths

    def _add_instances_directory(self, found: dict[str, StorageSighting], path: str) -> None:
        where = self._filesystem(path)
        if isinstance(where, Doubt) or where.identity not in found:
            return
        answer: InstancesDirectory | Doubt = self._ask(
            operations.INSTANCES_DIRECTORY,
            path,
            self._uuids,
            seconds=_SCAN_SECONDS,
            missed="storage-scan-incomplete",
        )
        sighting = found[where.identity]
        found[where.identity] = (
            msgspec.structs.replace(sighting, doubt=answer)
            if isinstance(answer, Doubt)
            else msgspec.structs.replace(sighting, instances=answer)
        )

    def _add_managed_save(self, found: dict[str, StorageSighting], path: str) -> None:
        where = self._filesystem(path)
        if isinstance(where, Doubt) or where.identity not in found:
            return
        answer = self._ask(
            operations.MANAGED_SAVE, path, seconds=_SCAN_SECONDS, missed="storage-scan-incomplete"
        )
        if not isinstance(answer, Doubt):
            found[where.identity] = msgspec.structs.replace(
                found[where.identity], managed_save_bytes=answer
            )

    def _hung_storage(self, path: str) -> StorageSighting:
        mount = next((m for m in self._mounts if m.path == path), None)
        return StorageSighting(
            facts=StorageFacts(
                identity=f"mount:{path}",
                kind="unknown",
                path=path,
                fs_type=mount.fs_type if mount else None,
                total_bytes=None,
                free_bytes=None,
                inodes_free=None,
            ),
            doubt=Doubt(code="storage-unresponsive"),
        )

    # --- helpers ------------------------------------------------------------------------------

    def _ask(
        self,
        operation: Operation[_T],
        *arguments: object,
        seconds: float,
        missed: str,
        subject: str | None = None,
    ) -> _T | Doubt:
        """One question through its lane: the answer, or the doubt that stands for it.

        :param missed: the code for no answer within ``seconds``.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            return Doubt(code="audit-deadline")
        try:
            return self._lanes.call(
                operation, *arguments, deadline=min(seconds, left), subject=subject
            )
        except DeadlineMissed:
            if left < seconds:
                return Doubt(code="audit-deadline")
            return Doubt(code=missed, detail=f"no answer in {seconds:g} s")
        except NoToken:
            return Doubt(code="libvirt-busy")
        except LaneRefused as refusal:
            code = refusal.code if refusal.code in CATALOGUE else missed
            return Doubt(code=code, detail=refusal.detail)
        except LaneBroken as broken:
            return Doubt(code=missed, detail=str(broken))

    def _path(self, layer: Layer) -> str | None:
        if layer.storage not in ("file", "block", "dir") or not layer.source:
            return None
        for prefix, replacement in self._options.path_map:
            if layer.source.startswith(prefix):
                return replacement + layer.source[len(prefix) :]
        return layer.source

    def _tell(self, phase: str, done: int) -> None:
        if self._options.progress is not None:
            self._options.progress(phase, done, len(self._subjects))


def _choose(listed: Sequence[tuple[str, str]], wanted: Sequence[str]) -> Sequence[tuple[str, str]]:
    if not wanted:
        return listed
    chosen = {}
    for word in wanted:
        matches = [pair for pair in listed if word.lower() == pair[0] or word == pair[1]]
        if not matches:
            raise AuditError(
                f"no domain has the UUID or name {word!r}; virsh list --all names them"
            )
        chosen.update(dict.fromkeys(matches))
    return list(chosen)


def _mount_of(path: str, mounts: Iterable[Mount]) -> str:
    """The mount point a path lies under by its text alone: asking the kernel might hang."""
    best = "/"
    for mount in mounts:
        inside = path == mount.path or path.startswith(mount.path.rstrip("/") + "/")
        if inside and len(mount.path) > len(best):
            best = mount.path
    return best


def _frozen(subject: _Subject) -> Sighting:
    domain = subject.domain
    disks = {
        disk.target: DiskSighting(
            layers=subject.layers.get(disk.target, ()),
            data_file=subject.data_files.get(disk.target),
            after=subject.after.get(disk.target),
            stats=subject.stats.get(disk.target),
        )
        for disk in (domain.disks if domain else ())
    }
    return Sighting(
        uuid=subject.uuid,
        name=subject.name,
        as_of=subject.as_of,
        domain=domain,
        disks=disks,
        claims=subject.claims,
        guest_doubt=subject.guest_doubt,
        doubts=tuple(subject.doubts),
    )


def _start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)

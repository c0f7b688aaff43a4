# SPDX-License-Identifier: Apache-2.0
"""One sweep over a host: which questions are asked of which domain, and in which order.

Numbers first: the inventory, then a look at every image. Only a domain whose files answered is
asked for libvirt's block numbers, and only a domain whose QEMU answered is asked about its
guest. Every question has a deadline and no answer is an answer too, so the sweep goes on with
the next domain, and at the end of the time given it returns what is known.
"""

from __future__ import annotations

import datetime
import queue
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from nova_diskaudit.audit import uri
from nova_diskaudit.audit.evidence import Evidence
from nova_diskaudit.audit.images import Hung, Images, Look
from nova_diskaudit.audit.interview import interview
from nova_diskaudit.audit.options import AuditError, Options
from nova_diskaudit.audit.question import Questions
from nova_diskaudit.audit.storages import look_at_storages
from nova_diskaudit.audit.subject import Part, Subject
from nova_diskaudit.audit.workers import Worker, take_some
from nova_diskaudit.facts import (
    BlockInfo,
    Domain,
    Doubt,
    HostSighting,
    Listed,
    Process,
    Sighting,
    Signature,
    StorageSighting,
)
from nova_diskaudit.lane import operations
from nova_diskaudit.lane.lanes import Lanes

# libvirt synchronises with the agent first, for up to 10 s that no timeout of ours shortens.
_AGENT_SYNC_SECONDS = 10.0
_GUEST_WORKERS = 2
# Domains in one question. For block stats: one by one, each costs a fifth more; and as many as
# this lose their evidence to one that hangs. To libvirt's descriptions and the storage: waking
# another process for each costs as much as the answer.
_ASKED_TOGETHER = 8
# As many lose the proof that they are unchanged to one that libvirt does not describe in time.
_DESCRIBED_TOGETHER = 64


class Memory(Protocol):
    """What an agent remembers from one sweep to the next, and a single sweep does not have."""

    def left_alone(self, uuid: str, part: Part) -> Doubt | None:
        """Why this part of a domain is not to be asked now; None when it is."""

    def last_described(self, uuid: str) -> Domain | None:
        """The domain as libvirt last described it."""


class Observer:
    """One sweep through the given lanes.

    :raises AuditError: for a URI that is not of a QEMU on this host.
    """

    def __init__(
        self,
        lanes: Lanes,
        options: Options,
        memory: Memory | None = None,
        hung: Hung | None = None,
    ) -> None:
        why = uri.problem(options.uri)
        if why is not None:
            raise AuditError(f"cannot audit {options.uri!r}: {why}")
        lanes.warm_up(
            "monitor",
            "storage",
            *(("evidence",) if options.ask_evidence else ()),
            *(("guest",) if options.ask_guests else ()),
        )
        self._questions = Questions(lanes, options.timeout, options.deadlines)
        self._deadlines = options.deadlines
        self.images = Images(self._questions, options.path_map, hung)
        self._evidence = Evidence(
            self._questions, self.images, lambda subject: self._left_alone(subject, "evidence")
        )
        self._options = options
        self._memory = memory
        self._guest_denial: Doubt | None = None
        self._subjects: list[Subject] = []
        self.doubts: list[Doubt] = []

    def host(self) -> HostSighting:
        """Look at every chosen domain and at the storages below them.

        :raises AuditError: without a connection or an inventory, or for an unknown instance.
        """
        as_of = _now()
        hostname, uuids = self._look()
        sightings = tuple(subject.sighting() for subject in self._subjects)
        return HostSighting(
            host=hostname,
            as_of=as_of,
            sightings=sightings,
            storages=self.storages(sightings, uuids),
            doubts=tuple(self.doubts),
        )

    def storages(
        self, sightings: Sequence[Sighting], uuids: Sequence[str], *, scan: bool = True
    ) -> tuple[StorageSighting, ...]:
        """Look at the storages below these domains; ``uuids`` are those of all of the host."""
        return look_at_storages(
            self._questions, self.images, self._options, sightings, uuids, scan=scan
        )

    def listed(self) -> list[Listed]:
        """Every domain with its state.

        :raises AuditError: without a connection, or when libvirt does not answer.
        """
        answer = self._questions.ask(
            operations.LIST_STATES, seconds=self._deadlines.inventory, missed="domain-unreadable"
        )
        if isinstance(answer, Doubt):
            raise self._no_inventory(answer)
        return answer

    def status_files(self, domains: Mapping[str, tuple[str, Process]]) -> dict[str, Signature]:
        """Of libvirt's records of running domains, by UUID; without those that prove nothing.

        :param domains: the name of each, and its QEMU.
        """
        if not domains:
            return {}
        answer = self._questions.ask(
            operations.STATUS_FILES,
            list(domains.values()),
            seconds=self._deadlines.storage,
            missed="storage-unresponsive",
        )
        if isinstance(answer, Doubt):
            return {}
        return {uuid: one for uuid, one in zip(domains, answer, strict=True) if one is not None}

    def digests(self, uuids: Sequence[str]) -> dict[str, bytes]:
        """Of what libvirt would describe some domains as now; without those it would not."""
        found: dict[str, bytes] = {}
        for first in range(0, len(uuids), _DESCRIBED_TOGETHER):
            several = list(uuids[first : first + _DESCRIBED_TOGETHER])
            answer = self._questions.ask(
                operations.DIGESTS, several, seconds=self._deadlines.describe, missed="libvirt-busy"
            )
            if isinstance(answer, Doubt):
                # The look at each of them will tell which one it was.
                break
            found |= {
                uuid: one for uuid, one in zip(several, answer, strict=True) if one is not None
            }
        return found

    def hostname(self) -> str:
        """The host's name as libvirt has it.

        :raises AuditError: as :meth:`listed`.
        """
        info = self._questions.ask(
            operations.HOST_INFO, seconds=self._deadlines.inventory, missed="domain-unreadable"
        )
        if isinstance(info, Doubt):
            raise self._no_inventory(info)
        return info.hostname

    def look_at_mounts(self) -> None:
        """Which mount a path lies on, for all that follows."""
        mounts = self._questions.ask(
            operations.MOUNTS, seconds=self._deadlines.storage, missed="storage-error"
        )
        if isinstance(mounts, Doubt):
            self.doubts.append(mounts)
        else:
            self.images.mounts = mounts

    def look_at_processes(self) -> dict[str, Process] | None:
        """The QEMU of each domain; None when ``/proc`` could not be read in time."""
        found = self._questions.ask(
            operations.PROCESSES, seconds=self._deadlines.storage, missed="evidence-missing"
        )
        if isinstance(found, Doubt):
            self.doubts.append(found)
            return None
        return found

    def look_at(self, chosen: Iterable[Listed], processes: Mapping[str, Process]) -> list[Subject]:
        """Look at some domains; the mounts are to be known by now."""
        self._subjects = [
            Subject(uuid=one.uuid, name=one.name, as_of=_now(), process=processes.get(one.uuid))
            for one in chosen
        ]
        self._look_at_domains()
        return self._subjects

    def disk(self, target: str) -> tuple[str, Sighting, BlockInfo | Doubt | None]:
        """Look at the one chosen domain, and ask libvirt what ``domblkinfo`` prints of a disk.

        :returns: the host's name, the sighting, and libvirt's answer: None when the domain may
            not be asked.
        :raises AuditError: as :meth:`host`.
        """
        hostname, _ = self._look()
        subject = self._subjects[0]
        targets = {disk.target for disk in subject.domain.disks} if subject.domain else set()
        info = self._evidence.of_disk(subject, target) if target in targets else None
        return hostname, subject.sighting(), info

    # --- the way of one domain ----------------------------------------------------------------

    def _look(self) -> tuple[str, list[str]]:
        """Everything but the storages; the host's name and the UUIDs of all its domains."""
        processes: dict[str, Process] = {}

        def scan() -> None:
            self.look_at_mounts()
            processes.update(self.look_at_processes() or {})

        scanning = Worker(scan)  # while libvirt makes its list
        hostname, listed = self.hostname(), self.listed()
        scanning.finish()
        self.look_at(_choose(listed, self._options.instances), processes)
        return hostname, [one.uuid for one in listed]

    def _look_at_domains(self) -> None:
        """Descriptions here, the storage right behind, then the hypervisors, then the guests.

        Four steps at work on different domains, so that the cheap ones cost no time of their
        own. Every question inside has a deadline, so every step comes to its end.
        """
        to_storage: queue.SimpleQueue[Subject | None] = queue.SimpleQueue()
        to_hypervisor: queue.SimpleQueue[Subject | None] = queue.SimpleQueue()
        to_guest: queue.SimpleQueue[Subject | None] = queue.SimpleQueue()
        finished: list[Subject] = []

        def ask_storage() -> None:
            try:
                for several in iter(lambda: take_some(to_storage, _ASKED_TOGETHER), []):
                    self._probe(several)
                    for subject in several:
                        to_hypervisor.put(subject)
            finally:
                to_hypervisor.put(None)

        def ask_hypervisors() -> None:
            for several in iter(lambda: take_some(to_hypervisor, _ASKED_TOGETHER), []):
                if self._options.ask_evidence:
                    self._evidence.look_at(several)
                for subject in several:
                    to_guest.put(subject)

        def ask_guests() -> None:
            for subject in iter(to_guest.get, None):
                self._guest(subject)
                finished.append(subject)
                self._tell(len(finished))

        storage = Worker(ask_storage)
        hypervisors = Worker(ask_hypervisors)
        guests = [Worker(ask_guests) for _ in range(_GUEST_WORKERS)]
        # Few at first, so that everybody has something to do soon.
        waiting, count = self._subjects, 1
        while waiting:
            for subject in self._described(waiting[:count]):
                to_storage.put(subject)
            waiting, count = waiting[count:], min(2 * count, _ASKED_TOGETHER)
        to_storage.put(None)
        storage.join()
        hypervisors.join()
        for _ in guests:
            to_guest.put(None)
        for worker in (storage, hypervisors, *guests):
            worker.finish()

    def _no_inventory(self, doubt: Doubt) -> AuditError:
        said = (doubt.detail or doubt.code).removeprefix(f"{self._options.uri}: ")
        return AuditError(
            f"no list of domains from {self._options.uri}: {said}. Check "
            "that libvirtd or virtqemud runs and that this user may use its socket, or choose "
            "another with --connect"
        )

    def _described(self, several: Sequence[Subject]) -> Iterator[Subject]:
        """Ask libvirt what some domains are made of; each of them as soon as that is known."""
        waiting: list[Subject] = []
        for subject in several:
            subject.as_of = _now()
            alone = self._left_alone(subject, "describe")
            if alone is None:
                waiting.append(subject)
            else:
                self._describe(subject, alone)
                yield subject
        while waiting:
            answers = self._questions.ask_each(
                operations.DESCRIBE,
                [(subject.uuid,) for subject in waiting],
                seconds=self._deadlines.describe,
                missed="domain-unreadable",
                subjects=[subject.uuid for subject in waiting],
            )
            for subject, answer in zip(waiting, answers, strict=False):
                self._describe(subject, answer)
                yield subject
            waiting = waiting[len(answers) :]

    def _describe(self, subject: Subject, answer: Domain | Doubt) -> None:
        if not isinstance(answer, Doubt):
            subject.domain = answer
            return
        subject.doubts.append(answer)
        if answer.code == "domain-unreadable":
            subject.missed.add("describe")
        # What it was made of when it was last described; its files still tell what they hold.
        if self._memory is not None and answer.code != "domain-gone":
            subject.domain = self._memory.last_described(subject.uuid)

    def _left_alone(self, subject: Subject, part: Part) -> Doubt | None:
        return None if self._memory is None else self._memory.left_alone(subject.uuid, part)

    def _probe(self, several: Iterable[Subject]) -> None:
        described: list[tuple[Subject, Domain]] = []
        looks: list[Look] = []
        for subject in several:
            if subject.domain is None:
                continue
            subject.as_of = _now()
            disks = subject.domain.disks
            layers = [layer for disk in disks for layer in disk.layers]
            layers += [disk.data_file for disk in disks if disk.data_file]
            described.append((subject, subject.domain))
            looks.append(Look(layers, subject.process, subject.uuid))
        for (subject, domain), facts in zip(
            described, self.images.look_at_each(looks), strict=True
        ):
            for disk in domain.disks:
                subject.layers[disk.target] = tuple(facts[layer] for layer in disk.layers)
                if disk.data_file:
                    subject.data_files[disk.target] = facts[disk.data_file]

    def _guest(self, subject: Subject) -> None:
        domain = subject.domain
        if domain is None:
            return
        subject.guest_doubt = self._why_not_ask(subject, domain)
        if subject.guest_doubt is not None:
            return
        timeout = self._deadlines.agent

        def ask(command: str) -> bytes | Doubt:
            return self._questions.ask(
                operations.AGENT,
                subject.uuid,
                command,
                max(1, round(timeout)),
                seconds=timeout + _AGENT_SYNC_SECONDS,
                missed="agent-timeout",
                subject=subject.uuid,
            )

        answer = interview(ask, domain.disks)
        if isinstance(answer, Doubt):
            subject.guest_doubt = answer
            if answer.code == "guest-not-permitted":
                self._guest_denial = answer
            if answer.code in ("agent-timeout", "agent-reply-invalid"):
                subject.missed.add("guest")
            return
        # The allocation once more, so that the guest's figures lie between two looks at it.
        tops = {disk.target: disk.layers[0] for disk in domain.disks if disk.layers}
        tops |= subject.resolved
        again = self.images.look_at(tops.values(), subject.process, subject.uuid)
        subject.after = {t: again[top] for t, top in tops.items() if again[top].code is None}
        subject.claims = answer

    def _why_not_ask(self, subject: Subject, domain: Domain) -> Doubt | None:
        if not self._options.ask_guests:
            return Doubt(code="guest-not-asked")
        if domain.guest_stats == "off":
            return Doubt(code="guest-stats-off")
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
        return self._guest_denial or self._left_alone(subject, "guest")

    def _tell(self, done: int) -> None:
        if self._options.progress is not None:
            self._options.progress("domains", done, len(self._subjects))


def _choose(listed: Sequence[Listed], wanted: Sequence[str]) -> Sequence[Listed]:
    if not wanted:
        return listed
    chosen: dict[str, Listed] = {}
    for word in wanted:
        matches = [one for one in listed if word.lower() == one.uuid or word == one.name]
        if not matches:
            raise AuditError(f"no domain is called {word!r}; virsh list --all --uuid --name tells")
        chosen.update((one.uuid, one) for one in matches)
    return list(chosen.values())


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)

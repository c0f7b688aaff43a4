# SPDX-License-Identifier: Apache-2.0
"""What this host holds, kept fresh: whole cycles, and single domains between them.

A cycle asks libvirt for its list and the storage for signatures; only what is not quiet is
looked at in full. Several threads may look at once; of two looks at one domain the one that
began later stands.
"""

from __future__ import annotations

import datetime
import logging
import threading
import time
import zlib
from collections.abc import Collection, Iterable, Sequence

from nova_diskaudit.agent import memory
from nova_diskaudit.agent.memory import Remembered
from nova_diskaudit.agent.quarantine import Quarantine
from nova_diskaudit.audit.images import Hung
from nova_diskaudit.audit.observer import Observer
from nova_diskaudit.audit.options import AuditError, Options
from nova_diskaudit.audit.storages import as_scanned
from nova_diskaudit.audit.subject import Subject
from nova_diskaudit.conclude import conclude_host
from nova_diskaudit.facts import (
    Domain,
    Doubt,
    HostSighting,
    Listed,
    Process,
    Signature,
    StorageSighting,
)
from nova_diskaudit.health import PARTS, CycleStatus, Part
from nova_diskaudit.lane.lanes import Lanes
from nova_diskaudit.record import HostReport

LOG = logging.getLogger(__name__)

_PROCESSES = "processes"
# Said by the host, so that a guest cannot use them to have its misses forgotten.
_NO_AGENT_TO_WAIT_FOR = frozenset(
    {"agent-absent", "guest-not-asked", "guest-not-running", "guest-stats-off"}
)


class Observatory:
    """All that is known of one host; thread-safe.

    ``full_cycles``: every domain is looked at in full at least once in so many cycles.
    """

    def __init__(
        self, lanes: Lanes, options: Options, host: str, quarantine: Quarantine, full_cycles: int
    ) -> None:
        self._lanes = lanes
        self._options = options
        self._host = host
        self._quarantine = quarantine
        self.full_cycles = full_cycles
        self._mutex = threading.Lock()
        self._known: dict[str, Remembered] = {}
        self._order: list[Listed] = []
        self._storages: tuple[StorageSighting, ...] = ()
        self._doubts: tuple[Doubt, ...] = ()
        self._processes: dict[str, Process] = {}
        self._hung = Hung()
        self._touched: set[str] = set()
        self._all_touched = True
        self._started_at: datetime.datetime | None = None
        self._report: HostReport | None = None
        self.status = CycleStatus(number=0)
        self._closed = False

    def close(self) -> None:
        """Believe nothing that arrives from now on: the lanes are about to be closed."""
        with self._mutex:
            self._closed = True

    def report(self) -> HostReport | None:
        """The newest state of the host; None before the first cycle."""
        with self._mutex:
            return self._report

    def known(self, subjects: Iterable[str]) -> set[str]:
        """Those of these subjects that are domains."""
        with self._mutex:
            return {subject for subject in subjects if subject in self._known}

    def touch(self, uuid: str | None) -> None:
        """Something happened to this domain, or perhaps to any of them (None)."""
        with self._mutex:
            if uuid is None:
                self._all_touched = True
            else:
                self._touched.add(uuid)

    def cycle(self) -> HostReport | None:
        """Look at the whole host once.

        :returns: the report; None when the lanes were closed meanwhile, or nothing is known yet.
        """
        begun = time.monotonic()
        number = self.status.number + 1
        started_at = _now()
        self._hung.keep(self._lanes.unanswered())
        notes = _Notes(self)
        observer = self._observer(notes)
        failed: str | None = None
        try:
            listed = observer.listed()
        except AuditError as error:
            failed = str(error)
            notes.silence = Doubt(code="libvirt-busy", detail="libvirt gave no list of domains")
            listed = self._order
            LOG.warning("Cycle %d goes on with the last list of domains: %s", number, error)
        observer.look_at_mounts()
        with self._mutex:
            touched, self._touched = self._touched, set()
            everyone, self._all_touched = self._all_touched or failed is not None, False
        waiting = [
            one
            for one in listed
            if not everyone and one.uuid not in touched and not self._has_its_turn(one.uuid, number)
        ]
        quiet = self._renew(observer, waiting)
        rest = [one for one in listed if one.uuid not in quiet]
        subjects = self._look(observer, rest, listed_now=failed is None)
        self._forget({one.uuid for one in listed})
        scan = number % self.full_cycles == 1 % self.full_cycles
        self._look_at_storages(observer, listed, scan=scan)
        with self._mutex:
            if self._closed:
                return None
            self._order = listed
            self._doubts = tuple(observer.doubts) + (
                (Doubt(code="inventory-stale", detail=failed),) if failed is not None else ()
            )
            self._started_at = started_at
            self.status = CycleStatus(
                number=number,
                started_at=started_at,
                seconds=time.monotonic() - begun,
                domains=len(listed),
                full=len(subjects),
                quiet=len(quiet),
                failed=failed,
            )
            if failed is not None and self._report is None:
                return None  # never a report that says there is nothing
            self._assemble()
            return self._report

    def refresh(self, uuids: Collection[str], *, retry: Part | None = None) -> None:
        """Look at some domains now, between cycles; ``retry`` asks a part that is left alone."""
        with self._mutex:
            if self._report is None:
                return  # the first cycle is on its way and will see them
            self._touched.difference_update(uuids)  # what happens from now on counts again
        observer = self._observer(_Notes(self, retry))
        try:
            listed = observer.listed()
        except AuditError as error:
            LOG.warning("Not refreshed: %s", error)
            self.touch(None)
            return
        observer.look_at_mounts()
        chosen = [one for one in listed if one.uuid in uuids]
        self._look(observer, chosen, listed_now=True)
        with self._mutex:
            if self._closed:
                return
            self._forget_locked({one.uuid for one in listed} | {o.uuid for o in self._order})
            present = {one.uuid for one in listed}
            for uuid in uuids:
                if uuid not in present:
                    self._known.pop(uuid, None)
            known = {one.uuid for one in self._order}
            self._order = [
                one for one in self._order if one.uuid in present or one.uuid not in uuids
            ]
            self._order += [one for one in chosen if one.uuid not in known]
            self._assemble()

    # --- one cycle ----------------------------------------------------------------------------

    def _observer(self, notes: _Notes) -> Observer:
        return Observer(self._lanes, self._options, notes, self._hung)

    def _has_its_turn(self, uuid: str, number: int) -> bool:
        """Spread over the cycles, so that no cycle has to look at everybody."""
        return (zlib.crc32(uuid.encode()) + number) % self.full_cycles == 0

    def _renew(self, observer: Observer, waiting: Iterable[Listed]) -> set[str]:
        """Renew what is quiet; the UUIDs of those domains."""
        with self._mutex:
            candidates = [
                (one, self._known[one.uuid])
                for one in waiting
                if one.uuid in self._known and self._known[one.uuid].proof is not None
            ]
        at = _now()
        # First what it is made of, then what that holds: a change between shows next time.
        files = observer.status_files(
            {one.uuid: (one.name, known.process) for one, known in candidates if known.process}
        )
        digests = observer.digests(
            [
                one.uuid
                for one, known in candidates
                if not memory.is_described_alike(known, files.get(one.uuid), None)
            ]
        )
        candidates = [
            (one, known)
            for one, known in candidates
            if memory.is_described_alike(known, files.get(one.uuid), digests.get(one.uuid))
        ]
        signatures = observer.images.signatures(
            image for _, known in candidates for image in memory.images(known)
        )
        quiet: set[str] = set()
        with self._mutex:
            for one, known in candidates:
                # Touched by an event, or refreshed, while the storage was asked.
                if one.uuid in self._touched or self._known.get(one.uuid) is not known:
                    continue
                file, digest = files.get(one.uuid), digests.get(one.uuid)
                if memory.is_quiet(known, one, file, digest, signatures):
                    self._known[one.uuid] = memory.renewed(known, at, file)
                    quiet.add(one.uuid)
        return quiet

    def _look(
        self, observer: Observer, chosen: Sequence[Listed], *, listed_now: bool
    ) -> list[Subject]:
        if not chosen:
            return []
        chosen = self._slowest_first(chosen)
        running = self._running(observer, chosen)
        files = observer.status_files(
            {one.uuid: (one.name, running[one.uuid]) for one in chosen if one.uuid in running}
        )
        subjects = observer.look_at(chosen, running)
        markers = {one.uuid: one for one in chosen} if listed_now else {}
        for subject in subjects:
            uuid = subject.uuid
            self._absorb(subject, markers.get(uuid), files.get(uuid))
        return subjects

    def _slowest_first(self, chosen: Sequence[Listed]) -> list[Listed]:
        """Those whose guests answered last time: they take longest, and others go on beside."""
        with self._mutex:
            answered = {
                one.uuid
                for one in chosen
                if (known := self._known.get(one.uuid)) and known.instance.guest.state == "answered"
            }
        return sorted(chosen, key=lambda one: one.uuid not in answered)

    def _running(self, observer: Observer, chosen: Sequence[Listed]) -> dict[str, Process]:
        """The QEMUs of these domains. All of ``/proc`` is read only for one that was started since.

        That costs as much as the look at a dozen domains; and a QEMU that has ended meanwhile is
        noticed where it is needed.
        """
        with self._mutex:
            known = {one.uuid: self._known.get(one.uuid) for one in chosen}
        found = {
            one.uuid: before.process
            for one in chosen
            if (before := known[one.uuid]) and before.process and before.listed == one
        }
        if all(one.uuid in found or one.number is None for one in chosen):
            return found
        if _PROCESSES not in self._lanes.unanswered():
            scanned = observer.look_at_processes()
            if scanned is not None:
                self._processes = scanned
        return self._processes

    def _absorb(
        self, subject: Subject, listed: Listed | None, status_file: Signature | None
    ) -> None:
        sighting = subject.sighting()
        with self._mutex:
            if self._closed:
                return
            before = self._known.get(subject.uuid)
            if before is not None and before.sighting.as_of > sighting.as_of:
                return
            self._known[subject.uuid] = memory.remember(
                sighting,
                listed=listed,
                process=subject.process,
                status_file=status_file,
                before=before,
            )
        for part in PARTS:
            if part in subject.missed:
                code, detail = _reason(subject, part)
                LOG.warning("%s (%s): %s missed its deadline: %s", subject.uuid, part, code, detail)
                self._quarantine.missed(subject.uuid, subject.name, part, code, detail)
        doubt = subject.guest_doubt
        if doubt is None or doubt.code in _NO_AGENT_TO_WAIT_FOR:
            self._quarantine.answered(subject.uuid, "guest")
        if subject.stats:
            self._quarantine.answered(subject.uuid, "evidence")
        if subject.domain is not None and not subject.doubts:
            self._quarantine.answered(subject.uuid, "describe")

    def _look_at_storages(
        self, observer: Observer, listed: Sequence[Listed], *, scan: bool
    ) -> None:
        with self._mutex:
            sightings = [
                self._known[one.uuid].sighting for one in listed if one.uuid in self._known
            ]
        uuids = [one.uuid for one in listed]
        found = observer.storages(sightings, uuids, scan=scan)
        with self._mutex:
            before = {storage.facts.identity: storage for storage in self._storages}
            self._storages = tuple(
                storage if scan else as_scanned(storage, before.get(storage.facts.identity), uuids)
                for storage in found
            )

    def _forget(self, present: Collection[str]) -> None:
        with self._mutex:
            self._forget_locked(present)
        self._quarantine.keep(present)

    def _forget_locked(self, present: Collection[str]) -> None:
        for uuid in [uuid for uuid in self._known if uuid not in present]:
            del self._known[uuid]

    def _assemble(self) -> None:
        """The report from what is known; the caller holds the mutex."""
        if self._started_at is None:
            return
        seen = HostSighting(
            host=self._host,
            as_of=self._started_at,
            sightings=(),
            storages=self._storages,
            doubts=self._doubts,
        )
        instances = tuple(
            self._known[one.uuid].instance for one in self._order if one.uuid in self._known
        )
        self._report = conclude_host(seen, instances)


class _Notes:
    """What a sweep may ask of the memory, see :class:`nova_diskaudit.audit.observer.Memory`."""

    def __init__(self, observatory: Observatory, retry: Part | None = None) -> None:
        self._observatory = observatory
        self._retry = retry
        #: why nobody is to be asked anything
        self.silence: Doubt | None = None

    def left_alone(self, uuid: str, part: Part) -> Doubt | None:
        if self.silence is not None:
            return self.silence
        why = self._observatory._quarantine.why(uuid, part)
        if why is None or part == self._retry:
            return None
        code, detail = why
        return Doubt(code=code, detail=detail)

    def last_described(self, uuid: str) -> Domain | None:
        known = self._observatory._known.get(uuid)
        return known.sighting.domain if known is not None else None


def _reason(subject: Subject, part: Part) -> tuple[str, str | None]:
    if part == "guest" and subject.guest_doubt is not None:
        return subject.guest_doubt.code, subject.guest_doubt.detail
    wanted = "qemu-unresponsive" if part == "evidence" else "domain-unreadable"
    doubt = next((d for d in subject.doubts if d.code == wanted), None)
    return wanted, doubt.detail if doubt is not None else None


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)

# SPDX-License-Identifier: Apache-2.0
"""A small cloud whose parts say what a test wants, each when it wants: the store hears them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit import protocol, record
from nova_diskaudit.reconcile import judge, reconciliation
from nova_diskaudit.store import allocation, ledger, moment, sighting, task
from nova_diskaudit.store import report as store_report
from nova_diskaudit.store.tables import finding, host
from nova_diskaudit.store.tables import sighting as sightings
from tests import reports

GIB = reports.GIB
STALE_SECONDS = 3600.0


class Found(NamedTuple):
    """A finding, with the words that tell what was seen."""

    message: str
    since: datetime.datetime


def disk(target: str, gib: float, *, kind: record.Kind = "local", **changes: Any) -> record.Disk:
    plain: dict[str, Any] = {
        "kind": kind,
        "virtual_bytes": int(gib * GIB),
        "identity": None,
        **changes,
    }
    return reports.disk(target, **plain)


class Stage:
    """Nova, Placement, the agents, and a clock."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.now = reports.NOW
        self.placement_answers = True
        #: who compares
        self.holder = "stage"
        self.options: dict[str, Any] = {}
        self._current: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def uuid(self, name: str) -> str:
        made = reports.uuid_of(name)
        self._names[made] = name
        return made

    def later(self, minutes: float) -> None:
        self.now += datetime.timedelta(minutes=minutes)

    def lease(self) -> task.Lease:
        found = task.take(
            self.engine,
            "reconciliation",
            self.holder,
            clock=lambda: self.now,
            seconds=120,
            if_due=False,
        )
        assert found is not None
        return found

    # --- what each of them says ---------------------------------------------------------------

    def nova(self, name: str, host: str | None = "a", **changes: Any) -> None:
        """Nova says something else about an instance than before."""
        deleted = changes.pop("deleted", False)
        plain: dict[str, Any] = {
            "uuid": self.uuid(name),
            "project_id": "red",
            "user_id": "rosa",
            "name": name,
            "host": host,
            "status": "ACTIVE",
            "task_state": None,
            "root_gb": 20,
            "ephemeral_gb": 0,
            "swap_mb": 0,
        }
        ledger.put(self.lease(), [ledger.Entry(**plain | changes, is_deleted=deleted)])

    def moves(self, **ends: tuple[str, str]) -> None:
        """All migrations that are open, by name of the instance."""
        pairs = {self.uuid(name): frozenset(hosts) for name, hosts in ends.items()}
        ledger.put_moves(self.lease(), pairs)

    def nova_answered(self) -> None:
        """All of Nova did, in a pass that began now."""
        ledger.note(self.lease(), complete_at=moment.of(self.now))

    def promised(self, provider: str, generation: int = 1, **gb: int) -> None:
        """What a provider allocated, by name of the instance."""
        told = allocation.Told(
            reports.uuid_of("provider", provider),
            provider,
            generation,
            moment.of(self.now),
            {self.uuid(name): number for name, number in gb.items()},
        )
        allocation.put(self.lease(), [told])

    def placement_answered(self) -> None:
        allocation.completed(self.lease(), begun=moment.of(self.now))

    def reports(
        self,
        host: str,
        *names: str,
        disks: Mapping[str, Iterable[record.Disk]] | None = None,
        changes: Mapping[str, Any] | None = None,
        leftovers: Mapping[str, int | None] | None = None,
        storage: Mapping[str, Any] | None = None,
        storages: Iterable[record.Storage] | None = None,
        codes: Iterable[str] = (),
        as_of: datetime.datetime | None = None,
    ) -> None:
        """A host's agent reports these instances, each with one disk of 20 GiB by default."""
        instances = tuple(
            reports.instance(
                self.uuid(name),
                disks=tuple((disks or {}).get(name, (disk("vda", 20),))),
                filesystems=(),
                **(changes or {}),
            )
            for name in names
        )
        if storages is None:
            found = tuple(
                record.Leftover(name=name, host_allocated_bytes=number)
                for name, number in (leftovers or {}).items()
            )
            mine = {"identity": f"fsid:{host}", "leftovers": found, **(storage or {})}
            storages = (reports.storage(**mine),)
        state = reports.state(
            host,
            instances,
            as_of=as_of or self.now,
            storages=tuple(storages),
            findings=tuple(
                record.Finding(code=code, severity="warning", message=code) for code in codes
            ),
        )
        full = protocol.full(
            state,
            agent=reports.uuid_of(host),
            replaces=self._current.get(host),
            sent_at=self.now,
        )
        store_report.put(self.engine, full, now=self.now, takeover_after_seconds=900)
        self._current[host] = state.id

    # --- what follows ---------------------------------------------------------------------------

    def settle(self, minutes: float = 10) -> None:
        """Time goes on, and everybody who answers says the same as before once more."""
        self.later(minutes)
        with self.engine.begin() as connection:
            at = moment.of(self.now)
            connection.execute(sa.update(host).values(as_of=at, received_at=at))
        self.later(1)
        self.placement_answered()
        self.nova_answered()
        self.later(1)

    def run(self) -> reconciliation.Pass:
        return reconciliation.run(
            self.lease(),
            **{
                "nova": True,
                "placement": True,
                "placement_answers": self.placement_answers,
                "stale_after_seconds": STALE_SECONDS,
                **self.options,
            },
        )

    def findings(self, *, compared: bool = True) -> dict[tuple[str, str, str], Found]:
        """By host, name of the instance (empty: the host itself) and code.

        :param compared: nothing was said since: then what stands beside instances agrees.
        """
        statement = (
            sa.select(host.c.name, finding)
            .select_from(finding.join(host, host.c.id == finding.c.host_id))
            .where(finding.c.origin == "reconcile", finding.c.code.in_(judge.CODES))
        )
        with self.engine.connect() as connection:
            rows = list(connection.execute(statement))
            if compared:
                self._noted(connection, rows)
        return {
            (row.name, self._names.get(row.uuid, row.uuid), row.code): Found(
                row.message, moment.time(row.since_at)
            )
            for row in rows
        }

    def _noted(self, connection: sa.Connection, rows: list[Any]) -> None:
        """What stands beside an instance or a host is what there is."""
        wanted: dict[tuple[int, str], set[str]] = {}
        for row in rows:
            wanted.setdefault((row.host_id, row.uuid), set()).add(row.code)
        found = [
            (row.host_id, row.uuid, row.service_codes)
            for row in connection.execute(
                sa.select(sightings.c.host_id, sightings.c.uuid, sightings.c.service_codes)
            )
        ]
        found += [
            (row.id, "", row.service_codes)
            for row in connection.execute(sa.select(host.c.id, host.c.service_codes))
        ]
        for host_id, uuid, words in found:
            noted = judge.CODES & set(words.split())
            assert noted == wanted.get((host_id, uuid), set()), (host_id, uuid)
            assert words == sighting.words(words.split())

    def codes(self) -> set[tuple[str, str, str]]:
        """Compare, and tell what there is: host, instance, code."""
        self.run()
        return set(self.findings())

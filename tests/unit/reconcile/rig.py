# SPDX-License-Identifier: Apache-2.0
"""A small cloud for the reconciliation: what Nova, Placement and the hosts say, word by word.

Everything is written into the store by the functions that write it in life; only Nova's ledger is
filled by hand, as a pass over Nova leaves it.
"""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa

from nova_diskaudit import findings, record
from nova_diskaudit.reconcile import judge, reconciliation
from nova_diskaudit.store import allocation, moment, task
from nova_diskaudit.store import report as store_report
from nova_diskaudit.store.tables import finding, host, instance, nova_map
from tests import reports

GIB = reports.GIB
STALE = 3600.0
NOVA_COLUMNS = {
    "project_id": "red",
    "other_host": None,
    "status": "ACTIVE",
    "task_state": None,
    "root_gb": 20,
    "ephemeral_gb": 0,
    "swap_mb": 0,
    "deleted_at": None,
}


def local(name: str, *gib: float) -> tuple[record.Disk, ...]:
    """Local disks of these sizes."""
    return tuple(
        reports.disk(f"vd{'abcdefgh'[at]}", identity=f"{name}:{at}", virtual_bytes=int(size * GIB))
        for at, size in enumerate(gib)
    )


def volume(name: str, gib: float = 50) -> record.Disk:
    """A volume of Cinder."""
    return reports.disk("vdz", kind="volume", identity=f"vol:{name}", virtual_bytes=int(gib * GIB))


def left(name: str, held: int | None = GIB) -> record.Leftover:
    """Something among the instances."""
    return record.Leftover(name=name, host_allocated_bytes=held)


class Rig:
    """One cloud, with one clock for all."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.now = reports.NOW
        self._current: dict[str, str] = {}
        self._claims: dict[str, dict[str, int]] = {}
        self.holder = "this process"

    def later(self, minutes: float = 5) -> None:
        self.now += datetime.timedelta(minutes=minutes)

    # --- Nova -------------------------------------------------------------------------------

    def nova(self, name: str, on: str | None, **changes: Any) -> None:
        """What Nova says of an instance from now on."""
        at = moment.of(self.now)
        row = {"host": on, **NOVA_COLUMNS, **changes, "seen_at": at, "moved_at": at}
        with self.engine.begin() as connection:
            key = instance.c.uuid == reports.uuid_of(name)
            connection.execute(sa.delete(instance).where(key))
            connection.execute(sa.insert(instance), {"uuid": reports.uuid_of(name), **row})

    def deletes(self, name: str) -> None:
        """Nova deletes an instance."""
        at = moment.of(self.now)
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(instance)
                .where(instance.c.uuid == reports.uuid_of(name))
                .values(deleted_at=at, seen_at=at, moved_at=at)
            )

    def nova_answers(self) -> None:
        """A pass over all of Nova is complete; nothing changed."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(nova_map))
            row = {"id": 1, "complete_at": moment.of(self.now)}
            connection.execute(sa.insert(nova_map), row)

    # --- the hosts ----------------------------------------------------------------------------

    def sees(
        self,
        on: str,
        *names: str,
        left: Any = (),
        shared: str | None = None,
        unread: bool = False,
        **of: Any,
    ) -> None:
        """A host reports these instances; ``of`` gives changes to each, by its name.

        :param unread: the list of what lies among the instances could not be read.
        """
        found = []
        for name in names:
            plain = {"project_id": "red", "disks": local(name, 20), "filesystems": ()}
            found.append(reports.instance(name, **(plain | of.get(name, {}))))
        storage = reports.storage(
            identity=shared or f"fsid:{on}",
            leftovers=tuple(left),
            total_bytes=2**50,
            findings=(findings.finding("storage-unresponsive"),) if unread else (),
        )
        state = reports.state(on, tuple(found), as_of=self.now, storages=(storage,))
        report = reports.full(state, agent=on, replaces=self._current.get(on), sent_at=self.now)
        store_report.put(self.engine, report, now=self.now, takeover_after_seconds=900)
        self._current[on] = state.id

    # --- Placement ----------------------------------------------------------------------------

    def claims(self, on: str, **gib: int) -> None:
        """What a provider promised."""
        self._claims.setdefault(on, {}).update(
            {reports.uuid_of(name): number for name, number in gib.items()}
        )

    def placement_answers(self) -> None:
        """Placement tells everything."""
        lease = self.lease("placement")
        for number, (name, promised) in enumerate(sorted(self._claims.items())):
            allocation.put(
                lease,
                reports.uuid_of("provider", name),
                name,
                generation=number,
                fetched_at=moment.of(self.now),
                disk_gb={uuid: number for uuid, number in promised.items() if number},
            )
        allocation.completed(lease, begun=moment.of(self.now))

    # --- and the comparison -----------------------------------------------------------------------

    def lease(self, name: str = "reconciliation") -> task.Lease:
        found = task.take(
            self.engine, name, self.holder, clock=lambda: self.now, seconds=120, if_due=False
        )
        assert found is not None
        return found

    def compare(self, **changes: Any) -> reconciliation.Pass:
        """One pass over what is known now."""
        plain = {"nova": True, "placement": True, "placement_answers": True}
        words = plain | {"stale_after_seconds": STALE} | changes
        return reconciliation.run(self.lease(), **words)

    def settle(self, **changes: Any) -> reconciliation.Pass:
        """Placement and Nova are asked after the reports, and everything is compared."""
        self.later(1)
        self.placement_answers()
        self.later(1)
        self.nova_answers()
        return self.compare(**changes)

    def found(self) -> dict[tuple[str, str, str], str]:
        """What the reconciliation found: host, UUID and code, with the words."""
        statement = (
            sa.select(host.c.name, finding.c.uuid, finding.c.code, finding.c.message)
            .select_from(finding.join(host, host.c.id == finding.c.host_id))
            .where(finding.c.origin == "reconcile", finding.c.code.in_(judge.CODES))
        )
        with self.engine.connect() as connection:
            rows = connection.execute(statement).all()
        return {(row.name, row.uuid, row.code): row.message for row in rows}

    def codes(self, name: str | None = None, on: str | None = None) -> set[str]:
        """Codes about one instance (or about hosts themselves)."""
        uuid = "" if name is None else reports.uuid_of(name)
        return {
            code for (where, about, code) in self.found() if about == uuid and on in (None, where)
        }

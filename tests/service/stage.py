# SPDX-License-Identifier: Apache-2.0
"""A service on SQLite behind the real Keystone, with two tenants' instances in its store.

Everything that only operators may know has ``secret`` in it, so a tenant's answer can be searched
for that word.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import sqlalchemy as sa

from nova_diskaudit import findings, protocol
from nova_diskaudit.reconcile import rollup
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import enrollment, moment, schema, tables
from nova_diskaudit.store import report as store_report
from tests import reports
from tests.service.people import SERVICE_TYPE, People
from tests.services.api import Api, Settings, auth_token
from tests.services.keystone import Keystone
from tests.services.sqlite import Sqlite

HOST = "secret-host"
OTHER_HOST = "other-secret-host"


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a test of access needs."""

    api: Api
    engine: sa.Engine
    people: People
    #: verified instances of ``people.project``, in their order
    mine: tuple[str, ...]
    #: and of the other project
    theirs: tuple[str, ...]
    #: a host says of this one that it is ``people.project``'s, and Nova knows nothing of it
    claimed: str

    def report(self, host: str) -> protocol.Report:
        """A report of a host that would be taken from its agent; of a known one, without news."""
        with self.engine.connect() as connection:
            row = connection.execute(
                sa.select(tables.host).where(tables.host.c.name == host)
            ).one_or_none()
        if row is None:
            return reports.full(reports.state(host, (reports.instance("intruder"),)))
        quiet = reports.full(reports.state(host, storages=_STORAGES), replaces=row.report_id)
        return reports.changed(quiet, kind="delta")


_STORAGES = (reports.storage(identity="secret-storage", path="/secret/instances"),)


def settings(keystone: Keystone, people: People, url: str, **authtoken: object) -> Settings:
    """The service's configuration; further words are options of ``[keystone_authtoken]``."""
    return {
        "api": {"auth_strategy": "keystone", "max_limit": 100},
        "database": {"connection": url},
        "nova": {"endpoint_override": "http://127.0.0.1:9/", "auth_type": "none"},
        "keystone_authtoken": {
            **auth_token(keystone, people.checker),
            **authtoken,
        },
    }


@contextlib.contextmanager
def set_up(keystone: Keystone, people: People, place: Sqlite) -> Iterator[Stage]:
    """The stage; the service does not keep tokens, so that what Keystone knows counts at once."""
    url = place.create_database("stage")
    engine = store_engine.create(url)
    schema.sync(engine)
    names = ("mine-1", "mine-2", "mine-3", "mine-4")
    mine = tuple(sorted(reports.uuid_of(name) for name in names))
    theirs = tuple(sorted(reports.uuid_of(name) for name in ("theirs-1", "theirs-2")))
    claimed = reports.uuid_of("claimed")
    for host, uuids in (
        (HOST, (*mine[:2], *theirs[:1], claimed)),
        (OTHER_HOST, (*mine[2:], *theirs[1:])),
    ):
        _fill(engine, host, uuids, people)
    _nova_says(engine, people, mine, theirs)
    rollup.run(
        engine,
        now=reports.NOW,
        nova=True,
        stale_after_seconds=3600,
        project_history_days=90,
        instance_history_days=90,
    )
    enrollment.enroll(engine, people.agent.id, HOST, at=0)
    with Api(settings(keystone, people, url, token_cache_time=-1)) as api:
        # Access rules mean nothing to keystonemiddleware without it.
        people.cloud.endpoint(SERVICE_TYPE, api.url)
        yield Stage(api, engine, people, mine, theirs, claimed)
    engine.dispose()


def _fill(engine: sa.Engine, host: str, uuids: tuple[str, ...], people: People) -> None:
    instances = tuple(_instance(uuid, number, people) for number, uuid in enumerate(uuids))
    state = reports.state(
        host,
        instances,
        storages=_STORAGES,
        findings=(findings.finding("storage-unresponsive", "/secret/instances"),),
    )
    report = reports.full(state)
    store_report.put(engine, report, now=reports.NOW, takeover_after_seconds=900)


def _instance(uuid: str, number: int, people: People) -> protocol.Instance:
    disk = reports.disk(
        source=f"/secret/instances/{uuid}/disk",
        identity=f"secret-file:{uuid}",
        storage_identity="secret-storage",
        host_allocated_bytes=(number + 1) * reports.GIB,
        findings=(
            findings.finding("untrimmed"),
            findings.finding("file-missing", f"/secret/instances/{uuid}/disk"),
        ),
    )
    # Whoever owns it, the host says that it is the reader's.
    return reports.instance(uuid, domain="secret-domain", project_id=people.project, disks=(disk,))


def _nova_says(
    engine: sa.Engine, people: People, mine: tuple[str, ...], theirs: tuple[str, ...]
) -> None:
    at = moment.of(reports.NOW)
    rows = []
    for project, uuids in ((people.project, mine), (people.other_project, theirs)):
        for uuid in uuids:
            rows.append(
                {
                    "uuid": uuid,
                    "project_id": project,
                    "user_id": "somebody",
                    "name": f"server of {project}",
                    "host": HOST if uuid in (*mine[:2], *theirs[:1]) else OTHER_HOST,
                    "status": "ACTIVE",
                    "seen_at": at,
                    "moved_at": 0,
                }
            )
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.instance), rows)
        # Nova was heard to the end after all of it was reported.
        connection.execute(
            sa.insert(tables.nova_map),
            [{"id": 1, "complete_at": at + 1, "listed_at": at + 1, "refreshed_at": at + 1}],
        )

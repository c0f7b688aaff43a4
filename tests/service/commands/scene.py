# SPDX-License-Identifier: Apache-2.0
"""A small cloud with everything that the commands have words for.

All of it happened a while ago, at hours and days that :func:`plain` puts into a fixed time, so that
the commands' output is the same at every run. What carries random names is given fixed ones too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import re
from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from nova_diskaudit import findings, protocol, record
from nova_diskaudit.limits import FLAT, GUEST_USED, HOST_ALLOCATED, NOVA_DISK, UNLIMITED
from nova_diskaudit.reconcile import rollup
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import moment, quota, schema, tables
from nova_diskaudit.store import report as store_report
from tests import reports
from tests.service.people import SERVICE_TYPE
from tests.services.api import Api, auth_token
from tests.services.cloud import REGION, Cloud, Person
from tests.services.keystone import Keystone
from tests.services.sqlite import Sqlite

GIB, MIB = 2**30, 2**20
HOUR, DAY = datetime.timedelta(hours=1), datetime.timedelta(days=1)

#: What a hostile owner calls a server: escape sequences, a new line, a right-to-left override,
#: a shell's substitutions and quotation marks.
HOSTILE = "evil\x1b[31m\n| forged |\u202e$(touch pwned)`touch pwned`\"'\\"

#: When it is, in what the tests read.
_THEN = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
#: So old is the newest report. Ages are told in days and hours.
_AGE = datetime.timedelta(days=2, hours=12)
#: Old enough not to be called stale.
_STALE_AFTER = datetime.timedelta(days=30)

_HOST, _OTHER_HOST, _SILENT_HOST = "compute-1", "compute-2", "compute-3"
#: Hours before the newest report at which there was one; two are missing in between.
_HOURS = (*range(11, 5, -1), *range(3, -1, -1))
#: The same for days.
_DAYS = (6, 5, 3)


@dataclasses.dataclass(frozen=True)
class Scene:
    """Who is there, and where."""

    api: Api
    cloud: Cloud
    rosa: Person
    #: whose project has no server
    nemo: Person
    #: a reader of the project that has the hostile server
    otto: Person
    auditor: Person
    admin: Person
    #: id and name of rosa's project
    acme: str
    acme_name: str
    evil: str
    #: servers by their names in this module
    servers: Mapping[str, str]
    #: when the newest report was made
    at: datetime.datetime
    #: texts that differ from run to run, and what stands for them
    known: Mapping[str, str]

    def plain(self, text: str, *, in_days: bool = False) -> str:
        """``text`` as it is at every run.

        :param in_days: midnight is the begin of a day, and not of an hour.
        """
        for found, fixed in self.known.items():
            text = text.replace(found, fixed)
        return _TIME.sub(functools.partial(self._then, in_days), text)

    def _then(self, in_days: bool, match: re.Match[str]) -> str:
        word = match.group()
        at = datetime.datetime.fromisoformat(word.replace(" ", "T"))
        if at > self.at:
            moved = _THEN + _AGE  # when the service was asked
        elif in_days and at.hour == at.minute == 0:
            moved = _THEN.replace(hour=0) - (self.at.replace(hour=0, minute=0) - at)
        elif (self.at - at) % HOUR == datetime.timedelta():
            moved = _THEN - (self.at - at)
        else:
            moved = _THEN - (self.at.replace(minute=0) - at)
        seconds = ":%S" if match["seconds"] else ""
        return moved.strftime(f"%Y-%m-%d{word[10]}%H:%M{seconds}Z")

    def hours_ago(self, number: int) -> str:
        """So long before the newest report, as the commands read it."""
        return (self.at - number * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")


_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?P<seconds>:\d\d(?:\.\d+)?)?Z")


@contextlib.contextmanager
def set_up(keystone: Keystone, place: Sqlite) -> Iterator[Scene]:
    """The scene, of a Keystone that nobody else uses."""
    cloud = Cloud(keystone)
    cloud.endpoint("identity", keystone.url, "public", "internal", "admin")
    projects = {name: cloud.project(name) for name in ("acme", "evil", "empty", "services")}
    checker = cloud.user("diskaudit", projects["services"], "service")
    servers = {
        name: reports.uuid_of("scene", name)
        for name in ("web", "db", "thin", "shelved", "new", "hostile", "claimed")
    }
    now = datetime.datetime.now(datetime.UTC)
    # An age keeps its words for half an hour at least.
    at = now.replace(minute=30 * (now.minute // 30), second=0, microsecond=0) - _AGE
    url = place.create_database("scene")
    engine = store_engine.create(url)
    schema.sync(engine)
    _nova_says(engine, projects, servers, at)
    _report_all(engine, projects, servers, at)
    _limits_say(engine, projects, at)
    settings: dict[str, dict[str, object]] = {
        "api": {
            "auth_strategy": "keystone",
            "stale_after": int(_STALE_AFTER.total_seconds()),
            "max_limit": 3,  # lists are read in pages
        },
        "database": {"connection": url},
        "nova": {"endpoint_override": "http://127.0.0.1:9/", "auth_type": "none"},
        "keystone_authtoken": auth_token(keystone, checker),
    }
    with Api(settings) as api:
        cloud.endpoint(SERVICE_TYPE, api.url)
        names = cloud.names()
        known = {
            projects["acme"]: "acme0000acme0000acme0000acme0000",
            projects["evil"]: "evil0000evil0000evil0000evil0000",
            projects["empty"]: "none0000none0000none0000none0000",
        }
        known |= {names[id]: names[id].partition("-")[0] + "-000000" for id in list(known)}
        yield Scene(
            api=api,
            cloud=cloud,
            rosa=cloud.user("rosa", projects["acme"], "reader"),
            nemo=cloud.user("nemo", projects["empty"], "reader"),
            otto=cloud.user("otto", projects["evil"], "reader"),
            auditor=cloud.user("auditor", projects["services"], "diskaudit_auditor"),
            admin=cloud.user("boss", projects["services"], "admin"),
            acme=projects["acme"],
            acme_name=names[projects["acme"]],
            evil=projects["evil"],
            servers=servers,
            at=at,
            known=known,
        )
    engine.dispose()


def environ(person: Person, **changes: str) -> dict[str, str]:
    """The variables by which OpenStack's client knows who somebody is."""
    return {
        "OS_AUTH_URL": person.cloud.url,
        "OS_IDENTITY_API_VERSION": "3",
        "OS_USERNAME": person.name,
        "OS_USER_DOMAIN_ID": "default",
        "OS_PASSWORD": person.password,
        "OS_PROJECT_ID": person.project or "",
        "OS_REGION_NAME": REGION,
        **changes,
    }


# --- what was reported ------------------------------------------------------------------------


def _report_all(
    engine: sa.Engine,
    projects: Mapping[str, str],
    servers: Mapping[str, str],
    at: datetime.datetime,
) -> None:
    """Reports of days and hours, each with its roll-up; disks grow from one to the next."""
    times = [at - number * DAY for number in _DAYS] + [at - number * HOUR for number in _HOURS]
    current: dict[str, str] = {}
    guest = _answered(at)
    for step, time in enumerate(times):
        for host, instances, found in (
            (
                _HOST,
                (_web(projects, servers, step, guest), _db(projects, servers)),
                ("inventory-stale",),
            ),
            (_OTHER_HOST, _of_other_host(projects, servers, guest), ()),
        ):
            state = reports.state(
                host,
                instances,
                id=reports.uuid_of(host, step),
                as_of=time,
                findings=tuple(map(findings.finding, found)),
                storages=(_storage(host),),
            )
            report = reports.full(state, agent=host, replaces=current.get(host), sent_at=time)
            store_report.put(engine, report, now=time, takeover_after_seconds=900)
            current[host] = state.id
        rollup.run(
            engine,
            now=time,
            nova=True,
            stale_after_seconds=_STALE_AFTER.total_seconds(),
            project_history_days=90,
            instance_history_days=90,
        )


def _answered(at: datetime.datetime) -> record.Guest:
    """A guest that has said the same since the first report."""
    return record.Guest(
        state="answered", agent_version="7.2.11", as_of=at - _DAYS[0] * DAY, checked_at=None
    )


def _web(
    projects: Mapping[str, str], servers: Mapping[str, str], step: int, guest: record.Guest
) -> protocol.Instance:
    """Two disks of which the second one grows, and could be trimmed."""
    uuid = servers["web"]
    held = (2 * GIB, (1 + step) * GIB)
    used = (1536 * MIB, 512 * MIB)
    disks = tuple(
        reports.disk(
            target,
            identity=f"file:1:{uuid}:{target}",
            source=f"/var/lib/nova/instances/{uuid}/{target}",
            host_allocated_bytes=held[number],
            container_bytes=held[number],
            backing_bytes=None,
            guest_used_bytes=used[number],
            used=record.Used(
                bytes=used[number], low=used[number], high=used[number], basis="guest"
            ),
            reclaimable=record.Reclaimable(
                low=0,
                high=held[number] - used[number],
                estimate=held[number] - used[number] - 64 * MIB,
                how="trim",
            ),
            findings=tuple(map(findings.finding, ("allocation-is-high-water-mark", "untrimmed"))),
        )
        for number, target in enumerate(("vda", "vdb"))
    )
    filesystems = tuple(
        record.Filesystem(
            name=f"{target}1",
            mountpoint=point,
            type="ext4",
            used_bytes=used[number],
            total_bytes=20 * GIB,
            disks=(target,),
            place="direct",
        )
        for number, (target, point) in enumerate((("vda", "/"), ("vdb", "/srv")))
    )
    return reports.instance(
        uuid,
        domain="instance-00000001",
        project_id=projects["acme"],
        guest=guest,
        filesystems=filesystems,
        disks=disks,
    )


def _db(projects: Mapping[str, str], servers: Mapping[str, str]) -> protocol.Instance:
    """A guest without an agent."""
    disk = reports.disk(
        identity=f"file:1:{servers['db']}",
        virtual_bytes=40 * GIB,
        host_allocated_bytes=5 * GIB,
        guest_used_bytes=None,
        guest_total_bytes=None,
        used=record.Used(bytes=None, low=0, high=None, basis="none"),
        reclaimable=record.Reclaimable(low=0, high=5 * GIB, estimate=None, how="none"),
        findings=(),
    )
    return reports.instance(
        servers["db"],
        domain="instance-00000002",
        project_id=projects["acme"],
        guest=record.Guest(state="agent-absent"),
        filesystems=(),
        findings=(findings.finding("agent-absent"),),
        disks=(disk,),
    )


def _of_other_host(
    projects: Mapping[str, str], servers: Mapping[str, str], guest: record.Guest
) -> tuple[protocol.Instance, ...]:
    thin = reports.disk(
        storage="block",
        format="raw",
        identity="block:thin",
        virtual_bytes=10 * GIB,
        host_allocated_bytes=None,
        host_allocated_source=None,
        container_bytes=None,
        guest_used_bytes=GIB,
        used=_exactly(GIB),
        reclaimable=record.Reclaimable(low=0, high=None, estimate=None, how="none"),
        findings=(findings.finding("host-allocation-unknown"),),
    )
    return (
        reports.instance(
            servers["thin"],
            domain="instance-00000003",
            project_id=projects["acme"],
            guest=guest,
            disks=(thin,),
        ),
        reports.instance(
            servers["hostile"],
            domain="instance-\u202e666",
            project_id=projects["evil"],
            guest=guest,
            flavor="m1.\u200bsmall\x9b31m",
            filesystems=(
                record.Filesystem(
                    name="vda1",
                    mountpoint="/\x9b2J\u202e/srv",
                    type="ext4",
                    used_bytes=GIB,
                    total_bytes=20 * GIB,
                    disks=("vda",),
                    place="direct",
                ),
            ),
        ),
        # It says that it is acme's. Nova does not know it.
        reports.instance(
            servers["claimed"], domain="instance-00000005", project_id=projects["acme"], guest=guest
        ),
    )


def _exactly(count: int) -> record.Used:
    return record.Used(bytes=count, low=count, high=count, basis="guest")


def _storage(host: str) -> record.Storage:
    return reports.storage(
        identity=f"fsid:{host}",
        total_bytes=200 * GIB,
        free_bytes=150 * GIB,
        virtual_sum_bytes=120 * GIB,
        image_cache_bytes=3 * GIB,
        leftovers=(record.Leftover(name="old_resize", host_allocated_bytes=GIB),),
    )


def _limits_say(engine: sa.Engine, projects: Mapping[str, str], at: datetime.datetime) -> None:
    """Keystone's limits, which are the same for everybody, and Placement's claims."""
    of_all = ((HOST_ALLOCATED, 100), (GUEST_USED, UNLIMITED), (NOVA_DISK, 500))
    limits = [quota.Limit(quota.EVERYBODY, name, gib, None) for name, gib in of_all]
    asked = moment.of(at)
    quota.put_limits(engine, limits, model=FLAT, at=asked)
    quota.put_claims(engine, {projects["acme"]: 200, projects["evil"]: 40}, at=asked)
    quota.put_state(engine, nova_enforces=1, claims_at=asked)


def _nova_says(
    engine: sa.Engine,
    projects: Mapping[str, str],
    servers: Mapping[str, str],
    at: datetime.datetime,
) -> None:
    named = (
        ("web", "acme", "web-1", _HOST),
        ("db", "acme", "db-1", _HOST),
        ("thin", "acme", "thin-1", _OTHER_HOST),
        ("shelved", "acme", "shelved-1", None),
        ("new", "acme", "new-1", _SILENT_HOST),
        ("hostile", "evil", HOSTILE, _OTHER_HOST),
    )
    seen = moment.of(at)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.instance),
            [
                {
                    "uuid": servers[word],
                    "project_id": projects[project],
                    "user_id": "somebody",
                    "name": name,
                    "host": host,
                    "status": "ACTIVE",
                    "seen_at": seen,
                    "moved_at": 0,
                }
                for word, project, name, host in named
            ],
        )
        # Nova was heard to the end after all of it was reported.
        connection.execute(
            sa.insert(tables.nova_map),
            [{"id": 1, "complete_at": seen + 1, "listed_at": seen + 1, "refreshed_at": seen + 1}],
        )

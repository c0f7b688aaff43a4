# SPDX-License-Identifier: Apache-2.0
"""Sums of projects, live, rolled up and of the past, held against sums that are made apart.

The model adds up what was reported, in plain Python, by the rule in words: an instance that Nova
names counts by the report of the host where Nova has it, else by that of the other end of its
move, else not at all.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nova_diskaudit import findings, protocol, record
from nova_diskaudit.reconcile import rollup as reconcile
from nova_diskaudit.store import (
    coverage,
    history,
    instance,
    moment,
    purge,
    rollup,
    scope,
    transaction,
    usage,
)
from nova_diskaudit.store import report as store_report
from nova_diskaudit.store.tables import instance as ledger
from nova_diskaudit.store.tables import instance_day, project_hour, project_usage, sighting
from tests import reports
from tests.unit.store import look
from tests.unit.store.conftest import empty

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
EVERYTHING = scope.Everything()
NOW = reports.NOW
STALE = 3600.0
MOST = 2**63 - 1

HOSTS = ("a", "b", "c")
PROJECTS = ("red", "blue", "green")
NAMES = tuple(f"i{number}" for number in range(6))

OPTIONAL = ("used_high_bytes", "reclaimable_high_bytes")


# --- the model --------------------------------------------------------------------------------


@dataclasses.dataclass
class Word:
    """What one host last said."""

    as_of: datetime.datetime
    received: datetime.datetime
    instances: dict[str, protocol.Instance]


@dataclasses.dataclass
class Named:
    """What Nova says of one instance."""

    project: str
    host: str | None
    other_host: str | None = None
    is_deleted: bool = False


@dataclasses.dataclass
class Expected:
    sums: dict[str, int | None]
    instances: int = 0
    host_measured: int = 0
    guest_measured: int = 0
    stale: int = 0
    as_of: datetime.datetime | None = None
    reasons: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)


def of_disks(disks: tuple[record.Disk, ...], unseen: bool) -> dict[str, int | None]:
    """The sums of one instance."""
    merged: list[dict[str, Any]] = []
    met: dict[str, dict[str, Any]] = {}
    for disk in disks:
        if disk.kind != "local":
            continue
        values = {
            "virtual": disk.virtual_bytes,
            "host_allocated": disk.host_allocated_bytes,
            "guest_used": disk.guest_used_bytes,
            "used_low": disk.used.low,
            "used_high": disk.virtual_bytes if disk.used.high is None else disk.used.high,
            "low": disk.reclaimable.low,
            "likely": disk.reclaimable.low
            if disk.reclaimable.estimate is None
            else disk.reclaimable.estimate,
            "high": disk.host_allocated_bytes
            if disk.reclaimable.high is None
            else disk.reclaimable.high,
        }
        before = met.get(disk.identity) if disk.identity is not None else None
        if before is None:
            merged.append(values)
            if disk.identity is not None:
                met[disk.identity] = values
            continue
        # Of three numbers the first one that is known counts; of what was concluded, the first.
        for name in ("virtual", "host_allocated", "guest_used"):
            before[name] = values[name] if before[name] is None else before[name]

    def total(name: str) -> int:
        return min(MOST, sum(one[name] or 0 for one in merged))

    def unknown(name: str) -> int:
        return sum(one[name] is None for one in merged)

    return {
        "disks": len(merged),
        "virtual_bytes": total("virtual"),
        "virtual_unknown": unknown("virtual"),
        "host_allocated_bytes": total("host_allocated"),
        "host_allocated_unknown": unknown("host_allocated"),
        "guest_used_bytes": total("guest_used"),
        "guest_used_unknown": unknown("guest_used"),
        "used_low_bytes": total("used_low"),
        "used_high_bytes": None if unseen or unknown("used_high") else total("used_high"),
        "reclaimable_low_bytes": total("low"),
        "reclaimable_likely_bytes": total("likely"),
        "reclaimable_high_bytes": None if unseen or unknown("high") else total("high"),
    }


class Model:
    """Everything that was said, and the tables that must have come of it."""

    def __init__(self) -> None:
        self.said: dict[str, Word] = {}
        self.named: dict[str, Named] = {}
        self.hours: dict[tuple[int, str], Expected] = {}
        self.days: dict[tuple[int, str], tuple[str, datetime.datetime, dict[str, int | None]]] = {}
        self.days_at: int | None = None

    def counts(self, name: str) -> str | None:
        """The host by whose word an instance counts."""
        one = self.named[name]
        for host in (one.host, one.other_host):
            if host in self.said and name in self.said[host].instances:
                return host
        return None

    def observed(self, name: str, host: str) -> datetime.datetime:
        word = self.said[host]
        return word.instances[name].as_of or word.as_of

    def usage(self, project: str, now: datetime.datetime, hour: range | None = None) -> Expected:
        expected = Expected(dict.fromkeys(usage.Sums._fields, 0))
        for name, one in self.named.items():
            if one.project != project or one.is_deleted:
                continue
            host = self.counts(name)
            if host is None:
                if hour is None:
                    expected.instances += 1
                    code = self.absent(name, one)
                    for part in ("host", "guest"):
                        key = (part, code)
                        expected.reasons[key] = expected.reasons.get(key, 0) + 1
                continue
            as_of = self.observed(name, host)
            if hour is None or moment.of(as_of) in hour:
                self.add(expected, name, host, as_of, now)
        expected.sums = {
            key: number if number is None else min(MOST, number)
            for key, number in expected.sums.items()
        }
        return expected

    def absent(self, name: str, one: Named) -> str:
        if one.host is None:
            return "not-on-a-host"
        seen = any(name in word.instances for word in self.said.values())
        return "unverified" if seen else "not-reported"

    def add(
        self, to: Expected, name: str, host: str, as_of: datetime.datetime, now: datetime.datetime
    ) -> None:
        said = self.said[host].instances[name]
        sums = of_disks(said.disks, coverage.is_unseen(said))
        lacks = coverage.judge(said, record.totals(said.disks))
        to.instances += 1
        to.as_of = as_of if to.as_of is None else min(as_of, to.as_of)
        to.stale += (now - self.said[host].received).total_seconds() > STALE
        for part, code in zip(("host", "guest"), lacks, strict=True):
            if code is not None:
                to.reasons[part, code] = to.reasons.get((part, code), 0) + 1
        to.host_measured += lacks.host is None
        to.guest_measured += lacks.guest is None
        for key, number in sums.items():
            before = to.sums[key]
            to.sums[key] = None if before is None or number is None else before + number

    def roll_up(self, now: datetime.datetime) -> None:
        at = moment.of(now)
        begin = at - at % history.HOUR
        for project in self.projects():
            of_hour = self.usage(project, now, range(begin, begin + history.HOUR))
            if of_hour.instances:
                self.hours[begin, project] = of_hour
        if not reconcile.is_due(self.days_at, now):
            return
        self.days_at = at
        for name, one in self.named.items():
            host = self.counts(name)
            if one.is_deleted or host is None:
                continue
            as_of = self.observed(name, host)
            observed = moment.of(as_of)
            if observed < at - at % history.DAY - history.DAY:
                continue
            key = (observed - observed % history.DAY, reports.uuid_of(name))
            if key not in self.days or as_of >= self.days[key][1]:
                said = self.said[host].instances[name]
                sums = of_disks(said.disks, coverage.is_unseen(said))
                self.days[key] = (one.project, as_of, sums)

    def projects(self) -> list[str]:
        return sorted({one.project for one in self.named.values() if not one.is_deleted})


# --- what happens -----------------------------------------------------------------------------

some_bytes = st.sampled_from((None, 0, 1, 7, 2**32, 2**40 + 5, MOST))
plain_bytes = some_bytes.map(lambda number: number or 0)
codes = st.lists(
    st.sampled_from(
        ("untrimmed", "file-missing", "storage-unresponsive", "filesystem-spans-disks", "no-medium")
    ),
    unique=True,
    max_size=2,
).map(lambda chosen: tuple(findings.finding(code) for code in chosen))


@st.composite
def disks(draw: st.DrawFn) -> record.Disk:
    return reports.disk(
        draw(st.sampled_from(("vda", "vdb", "vdc"))),
        kind=draw(st.sampled_from(("local", "local", "local", "volume", "cdrom"))),
        identity=draw(st.sampled_from((None, "x", "y"))),
        virtual_bytes=draw(some_bytes),
        host_allocated_bytes=draw(some_bytes),
        guest_used_bytes=draw(some_bytes),
        used=record.Used(
            bytes=None, low=draw(plain_bytes), high=draw(some_bytes), basis="guest-partial"
        ),
        reclaimable=record.Reclaimable(
            low=draw(plain_bytes), high=draw(some_bytes), estimate=draw(some_bytes), how="trim"
        ),
        findings=draw(codes),
    )


@st.composite
def instances(draw: st.DrawFn, name: str, now: datetime.datetime) -> protocol.Instance:
    ago = draw(st.sampled_from((None, None, None, 1, 50, 2000)))
    return reports.instance(
        name,
        state=draw(st.sampled_from(("running", "unknown"))),
        as_of=None if ago is None else now - datetime.timedelta(minutes=ago),
        guest=record.Guest(state=draw(st.sampled_from(("answered", "agent-absent", "nonsense")))),
        disks=tuple(draw(st.lists(disks(), max_size=3))),
        findings=draw(codes),
        project_id=draw(st.sampled_from((*PROJECTS, None))),
    )


class Life:
    """The service and the model, side by side."""

    def __init__(self, engine: sa.Engine) -> None:
        empty(engine)
        self.engine = engine
        self.model = Model()
        self.now = NOW
        self.current: dict[str, str] = {}

    def later(self, minutes: int) -> None:
        self.now += datetime.timedelta(minutes=minutes)

    def report(self, host: str, said: dict[str, protocol.Instance]) -> None:
        state = reports.state(host, tuple(said.values()), as_of=self.now)
        report = reports.full(state, replaces=self.current.get(host), agent=host, sent_at=self.now)
        store_report.put(self.engine, report, now=self.now, takeover_after_seconds=900)
        self.current[host] = state.id
        self.model.said[host] = Word(self.now, self.now, said)

    def nova(self, name: str, named: Named) -> None:
        row = {
            "uuid": reports.uuid_of(name),
            "project_id": named.project,
            "host": named.host,
            "other_host": named.other_host,
            "status": "ACTIVE",
            "seen_at": 0,
            "moved_at": 0,
            "deleted_at": 1 if named.is_deleted else None,
        }
        with self.engine.begin() as connection:
            connection.execute(sa.delete(ledger).where(ledger.c.uuid == row["uuid"]))
            connection.execute(sa.insert(ledger), row)
        self.model.named[name] = named

    def live(self, project: str, *, nova: bool = True) -> usage.Usage:
        found = usage.live(
            self.engine, EVERYTHING, project, nova=nova, now=self.now, stale_after_seconds=STALE
        )
        assert found is not None
        return found

    def roll_up(self, *, nova: bool = True, **changes: Any) -> reconcile.Pass:
        return run(self.engine, self.now, nova=nova, **changes)


def run(
    engine: sa.Engine, now: datetime.datetime, *, nova: bool = True, **changes: Any
) -> reconcile.Pass:
    options = {"stale_after_seconds": STALE, "project_history_days": 9, "instance_history_days": 9}
    return reconcile.run(engine, now=now, nova=nova, **{**options, **changes})


def compared(found: Any, expected: Expected) -> None:
    assert found.sums._asdict() == expected.sums
    assert found.instances == expected.instances
    assert (found.host_measured, found.guest_measured) == (
        expected.host_measured,
        expected.guest_measured,
    )
    as_of = None if expected.as_of is None else moment.of(expected.as_of)
    assert found.as_of == as_of


def compared_now(found: usage.Usage, expected: Expected) -> None:
    compared(found, expected)
    assert found.stale == expected.stale
    assert {(one.lacks, one.code): one.instances for one in found.reasons} == expected.reasons
    for part, measured in (("host", found.host_measured), ("guest", found.guest_measured)):
        lacking = sum(one.instances for one in found.reasons if one.lacks == part)
        assert lacking + measured == found.instances


def all_points(engine: sa.Engine, read: Any, subject: str) -> list[history.Point]:
    found: list[history.Point] = []
    more = True
    while more:
        marker = moment.time(found[-1].at) if found else None
        some, more = read(engine, EVERYTHING, subject, history.Range(marker=marker), limit=2)
        found += some
    assert [one.at for one in found] == sorted({one.at for one in found})
    return found


def holds(life: Life) -> None:
    """The past is as the model remembers it."""
    for project in PROJECTS:
        points = {p.at: p for p in all_points(life.engine, history.of_project, project)}
        known = {at: e for (at, whose), e in life.model.hours.items() if whose == project}
        assert points.keys() == known.keys()
        for at, expected in known.items():
            compared(points[at], expected)
    for name in NAMES:
        uuid = reports.uuid_of(name)
        points = {p.at: p for p in all_points(life.engine, history.of_instance, uuid)}
        days = {at: day for (at, which), day in life.model.days.items() if which == uuid}
        assert points.keys() == days.keys()
        for at, (_, as_of, sums) in days.items():
            assert points[at].sums._asdict() == sums
            assert points[at].as_of == moment.of(as_of)


@given(data=st.data())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
def _any_life(data: st.DataObject, engine: sa.Engine) -> None:
    draw: Any = data.draw
    life = Life(engine)
    for _ in range(draw(st.integers(1, 14))):
        what = draw(st.sampled_from(("report", "report", "nova", "nova", "pass")))
        if what == "report":
            host = draw(st.sampled_from(HOSTS))
            names = draw(st.lists(st.sampled_from(NAMES), unique=True))
            life.report(host, {name: draw(instances(name, life.now)) for name in names})
        elif what == "nova":
            named = Named(
                draw(st.sampled_from(PROJECTS)),
                draw(st.sampled_from((None, *HOSTS))),
                draw(st.sampled_from((None, None, *HOSTS))),
                draw(st.sampled_from((False, False, False, True))),
            )
            life.nova(draw(st.sampled_from(NAMES)), named)
        else:
            assert life.roll_up(project_history_days=3660, instance_history_days=3660).ran
            life.model.roll_up(life.now)
            listed, more = usage.listed(engine, EVERYTHING, limit=10)
            assert [one.project_id for one in listed] == life.model.projects() and not more
            for one in listed:
                compared_now(one, life.model.usage(one.project_id, life.now))
        for project in PROJECTS:
            compared_now(life.live(project), life.model.usage(project, life.now))
        life.later(draw(st.sampled_from((0, 1, 20, 70, 400, 1500))))
    holds(life)


def test_any_life_adds_up(engine: sa.Engine) -> None:
    _any_life(engine=engine)


# --- by hand ------------------------------------------------------------------------------------


@pytest.fixture
def life(engine: sa.Engine) -> Life:
    return Life(engine)


def said(*names: str, **changes: Any) -> dict[str, protocol.Instance]:
    return {name: reports.instance(name, **changes) for name in names}


def test_a_project_of_which_nothing_is_known(life: Life) -> None:
    assert life.live("red") == usage.Usage(
        "red", moment.of(NOW), None, usage.Sums(), 0, 0, 0, 0, ()
    )


def test_nobody_gets_the_usage_of_another_project(life: Life) -> None:
    life.report("a", said("i0"))
    life.nova("i0", Named("red", "a"))
    life.roll_up()
    words: Any = {"nova": True, "now": NOW, "stale_after_seconds": STALE}
    blue = scope.OfProject("blue")
    assert usage.live(life.engine, blue, "red", **words) is None
    assert usage.listed(life.engine, blue, limit=10) == ([], False)
    assert usage.listed(life.engine, scope.OfProject("red"), limit=10)[0] != []
    day = history.Range()
    uuid = reports.uuid_of("i0")
    assert history.of_project(life.engine, blue, "red", day, limit=9) == ([], False)
    assert history.of_instance(life.engine, blue, uuid, day, limit=9) == ([], False)
    assert history.of_instance(life.engine, scope.OfProject("red"), uuid, day, limit=9)[0] != []
    for project, expected in (("red", 1), ("blue", 0)):
        found, _ = history.of_instance(
            life.engine, EVERYTHING, uuid, day, limit=9, project_id=project
        )
        assert len(found) == expected


def test_sums_beyond_64_bits(life: Life) -> None:
    """Thousands of instances that a hostile host says the most of that a number holds."""
    names = [f"h{number}" for number in range(40)]
    most = reports.disk(
        identity=None,
        virtual_bytes=MOST,
        host_allocated_bytes=MOST,
        guest_used_bytes=MOST,
        used=record.Used(bytes=MOST, low=MOST, high=MOST, basis="guest"),
        reclaimable=record.Reclaimable(low=MOST, high=MOST, estimate=MOST, how="trim"),
    )
    life.report("a", said(*names, disks=(most,) * 40))
    for name in names:
        life.nova(name, Named("red", "a"))
    life.roll_up()
    sums = life.live("red").sums
    assert {n for name, n in sums._asdict().items() if name.endswith("_bytes")} == {MOST}
    assert sums.disks == 1600
    listed, _ = usage.listed(life.engine, EVERYTHING, limit=1)
    assert listed[0].sums == sums
    hours, _ = history.of_project(life.engine, EVERYTHING, "red", history.Range(), limit=1)
    assert hours[0].sums == sums


def test_sums_are_exact_where_floating_point_is_not(life: Life) -> None:
    numbers = (2**53 + 1, 2**53 + 3, 2**61 + 1)
    for host, number in zip(HOSTS, numbers, strict=True):
        disks = (reports.disk(host_allocated_bytes=number),)
        life.report(host, said(f"i-{host}", disks=disks))
        life.nova(f"i-{host}", Named("red", host))
    assert life.live("red").sums.host_allocated_bytes == sum(numbers)


def test_a_row_of_an_older_release_has_no_bounds(life: Life) -> None:
    life.report("a", said("i0", "i1"))
    for name in ("i0", "i1"):
        life.nova(name, Named("red", "a"))
    nothing = dict.fromkeys(("used_low_bytes", *OPTIONAL))
    with life.engine.begin() as connection:
        connection.execute(
            sa.update(sighting).where(sighting.c.uuid == reports.uuid_of("i0")).values(nothing)
        )
    sums = life.live("red").sums
    assert (sums.used_low_bytes, sums.used_high_bytes, sums.reclaimable_high_bytes) == (None,) * 3
    assert sums.host_allocated_bytes == 4 * reports.GIB


def test_without_nova_the_domains_word_is_taken(life: Life) -> None:
    life.report("a", said("i0", "i1", project_id="red"))
    life.later(1)
    life.report("b", said("i1", project_id="blue"))
    life.report("c", said("i2", project_id=None))
    for project, names in (("red", 1), ("blue", 1), ("green", 0)):
        assert life.live(project, nova=False).instances == names
    assert life.roll_up(nova=False).projects == 2
    listed, _ = usage.listed(life.engine, EVERYTHING, limit=10)
    assert [(one.project_id, one.instances) for one in listed] == [("blue", 1), ("red", 1)]
    points, _ = history.of_instance(
        life.engine, EVERYTHING, reports.uuid_of("i1"), history.Range(), limit=9, project_id="blue"
    )
    assert len(points) == 1


def test_the_ledgers_side_and_the_agents_side_tell_the_same(life: Life) -> None:
    """Two ways to say who is believed: one begins with sightings, the other with what Nova has."""
    for host in HOSTS:
        life.report(host, said(*NAMES))
    for number, name in enumerate(NAMES):
        life.nova(name, Named("red", ("a", "b", None)[number % 3], (None, "c")[number // 3]))
    page = instance.Page(limit=100)
    who = scope.OfProject("red")
    believed, _ = instance.listed(life.engine, who, instance.Filters(), page, nova=True)
    found = life.live("red")
    assert found.host_measured == len(believed) == 5
    held = sum(one.host_allocated_bytes for one in believed)
    assert found.sums.host_allocated_bytes == held


# --- passes -------------------------------------------------------------------------------------


def tables(engine: sa.Engine) -> dict[str, list[Any]]:
    return {
        table.name: [tuple(row) for row in look.rows(engine, table)]
        for table in (project_usage, project_hour, instance_day)
    }


def filled(life: Life) -> None:
    for host in HOSTS:
        life.report(host, said(*(f"{host}{number}" for number in range(3))))
        for number in range(3):
            life.nova(f"{host}{number}", Named(PROJECTS[number], host))


def test_a_pass_that_is_run_again_changes_nothing(life: Life) -> None:
    filled(life)
    first = life.roll_up()
    assert (first.ran, first.projects, first.days) == (True, 3, True)
    before = tables(life.engine)
    assert life.roll_up()[:3] == (True, 3, False)
    assert tables(life.engine) == before


def test_a_project_that_vanished_is_in_the_list_no_more(life: Life) -> None:
    filled(life)
    life.roll_up()
    for host in HOSTS:
        life.nova(f"{host}0", Named("red", host, is_deleted=True))
    life.later(5)
    life.roll_up()
    listed, _ = usage.listed(life.engine, EVERYTHING, limit=10)
    assert [one.project_id for one in listed] == ["blue", "green"]
    hours, _ = history.of_project(life.engine, EVERYTHING, "red", history.Range(), limit=9)
    assert len(hours) == 1, "its past stays"


def test_hours_in_which_nobody_reported_are_absent(life: Life) -> None:
    filled(life)
    for _ in range(5):
        life.roll_up()
        life.later(60)
    hours, _ = history.of_project(life.engine, EVERYTHING, "red", history.Range(), limit=9)
    assert [one.at for one in hours] == [moment.of(NOW) - moment.of(NOW) % history.HOUR]


def test_what_is_observed_in_an_hour_counts_in_it_alone(life: Life) -> None:
    filled(life)
    life.roll_up()
    life.later(60)
    life.report("a", said("a0"))
    life.roll_up()
    hours, _ = history.of_project(life.engine, EVERYTHING, "red", history.Range(), limit=9)
    assert [one.instances for one in hours] == [3, 1]
    assert life.live("red").instances == 3


def test_pages_of_the_list(life: Life) -> None:
    for number in range(7):
        life.nova(f"i{number}", Named(f"p{number}", "a"))
    life.roll_up()
    found, marker, more = [], None, True
    while more:
        some, more = usage.listed(life.engine, EVERYTHING, limit=3, marker=marker)
        found += [one.project_id for one in some]
        marker = found[-1]
    assert found == [f"p{number}" for number in range(7)]


def test_of_two_passes_the_one_that_began_later_is_completed(life: Life) -> None:
    filled(life)
    later = life.now + datetime.timedelta(minutes=1)
    first, second = reports.uuid_of("first"), reports.uuid_of("second")
    rollup.begin(life.engine, first)
    read = functools.partial(rollup.projects, life.engine, nova=True, stale_after_seconds=STALE)
    early = list(read(now=life.now))
    rollup.begin(life.engine, second)
    list(rollup.put(life.engine, second, read(now=later)))
    with pytest.raises(rollup.Superseded):
        list(rollup.put(life.engine, first, early))
    for write in (
        functools.partial(rollup.put_days, nova=True),
        functools.partial(rollup.finish, seconds=1.0, counted=rollup.Counted()),
    ):
        with pytest.raises(rollup.Superseded):
            write(life.engine, first, now=life.now)
    rollup.finish(life.engine, second, now=later, seconds=1.0, counted=rollup.Counted())
    rows = look.rows(life.engine, project_usage)
    assert {row.computed_at for row in rows} == {moment.of(later)} and len(rows) == 3


def test_a_pass_that_was_overtaken_says_so(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(life)
    begin = rollup.begin

    def overtaken(engine: sa.Engine, run_id: str) -> None:
        begin(engine, run_id)
        begin(engine, reports.uuid_of("other"))

    monkeypatch.setattr(rollup, "begin", overtaken)
    assert life.roll_up() == reconcile.Pass(ran=False)
    assert look.rows(life.engine, project_usage) == []


def test_a_clock_that_was_wrong_does_no_harm(life: Life) -> None:
    """A pass of another year, and then the right time again."""
    filled(life)
    life.roll_up()
    before = tables(life.engine)
    run(life.engine, life.now + datetime.timedelta(days=400))
    life.roll_up()
    after = tables(life.engine)
    assert after["project_hour"] == before["project_hour"]
    assert after["instance_day"] == before["instance_day"]
    assert {row[1] for row in after["project_usage"]} == {moment.of(life.now)}


@pytest.mark.parametrize(
    "last, now, due",
    [
        (None, "2026-01-02T12:00", True),
        ("2026-01-02T12:00", "2026-01-02T17:29", False),
        ("2026-01-02T12:00", "2026-01-02T17:30", True),
        ("2026-01-02T23:29", "2026-01-02T23:31", True),
        ("2026-01-02T23:31", "2026-01-03T05:29", False),
        ("2026-01-03T05:31", "2026-01-02T05:31", True),
    ],
)
def test_when_days_are_written(last: str | None, now: str, due: bool) -> None:
    def at(text: str) -> datetime.datetime:
        return datetime.datetime.fromisoformat(f"{text}+00:00")

    assert reconcile.is_due(None if last is None else moment.of(at(last)), at(now)) is due


def test_the_later_observation_of_a_day_stays(life: Life) -> None:
    early = life.now - datetime.timedelta(minutes=90)
    life.report("a", said("i0"))
    life.report("b", said("i0", as_of=early, disks=(reports.disk(host_allocated_bytes=7),)))
    life.nova("i0", Named("red", "a"))
    life.roll_up()
    # It moved to where it was last looked at before: the day keeps what was observed later.
    life.nova("i0", Named("red", "b"))
    life.later(24 * 60)
    life.roll_up()
    days, _ = history.of_instance(
        life.engine, EVERYTHING, reports.uuid_of("i0"), history.Range(), limit=9
    )
    assert [one.sums.host_allocated_bytes for one in days] == [2 * reports.GIB]


def test_what_was_observed_before_yesterday_is_not_written_again(life: Life) -> None:
    for name, hours in (("i0", 20), ("i1", 40), ("i2", 60)):
        as_of = life.now - datetime.timedelta(hours=hours)
        life.report(f"host of {name}", said(name, as_of=as_of))
        life.nova(name, Named("red", f"host of {name}"))
    life.roll_up()
    days = {row.uuid for row in look.rows(life.engine, instance_day)}
    assert days == {reports.uuid_of("i0")}


def test_findings_are_counted_and_unknown_codes_are_one(life: Life) -> None:
    odd = tuple(
        record.Finding(code=f"odd-{number}", severity="info", message="") for number in range(9)
    )
    life.report("a", said("i0", "i1", disks=(reports.disk(findings=()),), findings=odd))
    life.report("b", said("i2"))
    life.roll_up()
    counted = rollup.state(life.engine).counted
    assert dict(((code, severity), n) for code, severity, n in counted.findings) == {
        ("allocation-is-high-water-mark", "info"): 1,
        ("discard-disabled", "warning"): 1,
        ("other", "info"): 18,
        ("shared-backing", "info"): 1,
        ("untrimmed", "warning"): 1,
    }


def test_the_last_pass_is_known(life: Life) -> None:
    assert rollup.state(life.engine) == rollup.State(None, None, rollup.Counted(), None, 0)
    life.nova("i0", Named("red", "a"))
    life.roll_up()
    state = rollup.state(life.engine)
    assert state.computed_at == state.instances_at == moment.of(NOW)
    assert state.seconds is not None and state.seconds > 0
    assert state.counted.reasons == (
        usage.Reason("not-reported", "guest", 1),
        usage.Reason("not-reported", "host", 1),
    )


# --- the past -----------------------------------------------------------------------------------


def many_hours(engine: sa.Engine, count: int, project: str = "red", start: int = 0) -> None:
    row = {**usage.Sums()._asdict(), "instances": 1, "host_measured": 1, "guest_measured": 1}
    with transaction.read(engine) as connection:
        connection.execute(
            sa.insert(project_hour),
            [
                {**row, "hour_at": (start + n) * history.HOUR, "project_id": project, "as_of": n}
                for n in range(count)
            ],
        )
        connection.commit()


def test_a_range_of_the_past(engine: sa.Engine) -> None:
    many_hours(engine, 2500)
    many_hours(engine, 10, "blue", 5000)

    def at(hour: float) -> datetime.datetime:
        return moment.time(int(hour * history.HOUR))

    def hours(limit: int = 9, **words: datetime.datetime) -> tuple[list[int], bool]:
        found, more = history.of_project(
            engine, EVERYTHING, "red", history.Range(**words), limit=limit
        )
        return [one.at // history.HOUR for one in found], more

    assert hours(limit=5000) == (list(range(2500)), False)
    assert hours(limit=2) == ([0, 1], True)
    assert hours(start=at(7), end=at(9)) == ([7, 8], False)
    assert hours(start=at(7.1), end=at(9.1)) == ([8, 9], False)
    assert hours(start=at(7), marker=at(10), end=at(12)) == ([11], False)
    assert hours(limit=2500, marker=at(2498)) == ([2499], False)
    assert hours(start=at(2499)) == ([2499], False)
    assert hours(start=at(2500)) == ([], False)
    assert hours(start=at(9), end=at(8)) == ([], False)
    most = datetime.datetime.max.replace(tzinfo=datetime.UTC)
    least = datetime.datetime.min.replace(tzinfo=datetime.UTC)
    assert hours(start=least, end=most, limit=1) == ([0], True)
    assert hours(end=least) == hours(start=most) == hours(marker=most) == ([], False)


def test_the_past_is_purged_in_steps(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_PURGED_AT_ONCE", 2)
    for project in ("blue", "green", "red"):
        many_hours(engine, 30, project)
    with look.written(engine) as written:
        assert history.purge(engine, project_days=1, instance_days=1) == 3 * 6
    assert len(written) == 12
    hours, _ = history.of_project(engine, EVERYTHING, "red", history.Range(), limit=99)
    assert [one.at // history.HOUR for one in hours] == list(range(6, 30))
    assert history.purge(engine, project_days=1, instance_days=1) == 0


def test_reports_are_counted_and_purged_hosts_are_not_forgotten(life: Life) -> None:
    for _ in range(3):
        life.report("a", {})
    life.later(60 * 24 * 9)
    life.report("b", {})
    assert purge.purge(life.engine, before=NOW + datetime.timedelta(days=1)).hosts == 1
    assert rollup.state(life.engine).reports_purged == 3

# SPDX-License-Identifier: Apache-2.0
"""Who is believed, who sees what, and lists in pages."""

from __future__ import annotations

import datetime
import itertools
import random
from typing import Any

import pytest
import sqlalchemy as sa

from nova_diskaudit import findings
from nova_diskaudit.store import finding as store_finding
from nova_diskaudit.store import host as store_host
from nova_diskaudit.store import instance as store
from nova_diskaudit.store import moment, scope
from nova_diskaudit.store import report as store_report
from nova_diskaudit.store.tables import instance, nova_map
from tests import reports

NOW = reports.NOW
EVERYTHING = scope.Everything()
ONE = reports.uuid_of("one")


def minutes(number: float) -> datetime.datetime:
    return NOW + datetime.timedelta(minutes=number)


class Cloud:
    """Hosts that report and a Nova that says something, minute by minute."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.now = NOW
        self.current: dict[str, str] = {}

    def sees(self, host: str, *names: str, minute: float = 0, **changes: Any) -> None:
        """The agent of a host reports these instances."""
        instances = tuple(reports.instance(name, **changes) for name in names)
        state = reports.state(host, instances, as_of=minutes(minute))
        report = reports.full(
            state, replaces=self.current.get(host), agent=host, sent_at=minutes(minute)
        )
        store_report.put(self.engine, report, now=minutes(minute), takeover_after_seconds=900)
        self.current[host] = state.id

    def nova(self, name: str, minute: float = 0, **changes: Any) -> None:
        """Nova's word about an instance; ``minute`` is when its host last changed."""
        row = {
            "uuid": reports.uuid_of(name),
            "project_id": "red",
            "status": "ACTIVE",
            "seen_at": moment.of(minutes(minute)),
            "moved_at": moment.of(minutes(minute)),
            "host": None,
            **changes,
        }
        with self.engine.begin() as connection:
            connection.execute(sa.delete(instance).where(instance.c.uuid == row["uuid"]))
            connection.execute(sa.insert(instance), row)

    def complete(self, minute: float) -> None:
        """All of Nova answered in a pass that began then."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(nova_map))
            row = {"id": 1, "complete_at": moment.of(minutes(minute))}
            connection.execute(sa.insert(nova_map), row)

    def believed(self, name: str = "one") -> tuple[str, str] | None:
        """Host and trust of what an operator is shown."""
        found = store.shown(self.engine, EVERYTHING, reports.uuid_of(name), nova=True)
        return None if found is None else (found.host, trust_of(found.rank))

    def others(self, name: str = "one") -> dict[str, str]:
        found = store.others(self.engine, reports.uuid_of(name), nova=True)
        return {one.host: trust_of(one.rank) for one in found}

    def tenant_sees(self, project: str = "red", name: str = "one") -> bool:
        who = scope.OfProject(project)
        shown = store.shown(self.engine, who, reports.uuid_of(name), nova=True)
        listed, _ = store.listed(
            self.engine, who, store.Filters(), store.Page(limit=100), nova=True
        )
        assert (shown is not None) == (reports.uuid_of(name) in [one.uuid for one in listed])
        return shown is not None


def trust_of(rank: int) -> str:
    from nova_diskaudit.store import trust

    return trust.word(rank)


@pytest.fixture
def cloud(engine: sa.Engine) -> Cloud:
    return Cloud(engine)


# --- who is believed --------------------------------------------------------------------------


def test_what_nova_confirms(cloud: Cloud) -> None:
    cloud.sees("a", "one")
    cloud.nova("one", host="a")
    assert cloud.believed() == ("a", "verified")
    assert cloud.tenant_sees("red") and not cloud.tenant_sees("blue")


def test_what_nova_was_not_heard_about_waits(cloud: Cloud) -> None:
    cloud.sees("a", "one", minute=5)
    assert cloud.believed() == ("a", "pending"), "no pass over Nova was ever complete"
    cloud.complete(5)
    assert cloud.believed() == ("a", "pending"), "it came after the pass began"
    cloud.complete(6)
    assert cloud.believed() == ("a", "unverified"), "Nova does not know it"
    assert not cloud.tenant_sees("red")
    cloud.nova("one", minute=7, host="a")
    assert cloud.believed() == ("a", "verified")


def test_a_claim_to_belong_to_a_project_is_not_believed(cloud: Cloud) -> None:
    cloud.sees("a", "one", project_id="red")
    assert not cloud.tenant_sees("red")
    cloud.complete(1)
    assert not cloud.tenant_sees("red")


def test_a_live_migration(cloud: Cloud) -> None:
    cloud.sees("a", "one")
    cloud.nova("one", host="a")
    cloud.sees("b", minute=0)
    cloud.complete(1)
    # It begins: the destination has a domain, and Nova's host is still the source.
    cloud.nova("one", host="a", other_host="b", task_state="migrating")
    cloud.sees("b", "one", minute=10)
    cloud.complete(12)
    assert cloud.believed() == ("a", "verified")
    assert cloud.others() == {"b": "verified"}
    assert cloud.tenant_sees()
    # The source has let it go, Nova has not noticed: the destination is believed meanwhile.
    cloud.sees("a", minute=13)
    assert cloud.believed() == ("b", "verified")
    # It ends.
    cloud.nova("one", minute=14, host="b")
    assert cloud.believed() == ("b", "verified")
    assert cloud.others() == {}


def test_after_a_migration_the_source_reports_later(cloud: Cloud) -> None:
    cloud.sees("a", "one", minute=10)
    cloud.sees("b", "one", minute=11)
    cloud.complete(12)
    cloud.nova("one", minute=12, host="b")
    assert cloud.believed() == ("b", "verified")
    assert cloud.others() == {"a": "pending"}, "it has not reported since"
    cloud.sees("a", "one", minute=20)
    assert cloud.others() == {"a": "unverified"}, "it still has what Nova says it has not"
    cloud.sees("a", minute=30)
    assert cloud.others() == {}


def test_a_resize_that_waits_to_be_confirmed(cloud: Cloud) -> None:
    cloud.sees("a", "one")
    cloud.sees("b", "one", minute=5)
    cloud.complete(8)
    cloud.nova("one", minute=6, host="b", other_host="a", status="VERIFY_RESIZE")
    assert cloud.believed() == ("b", "verified")
    assert cloud.others() == {"a": "verified"}


def test_an_evacuation(cloud: Cloud) -> None:
    cloud.sees("dead", "one")
    cloud.complete(4)
    cloud.nova("one", minute=5, host="b")
    assert cloud.believed() == ("dead", "pending"), "the new host has not reported yet"
    assert not cloud.tenant_sees()
    cloud.sees("b", "one", minute=10)
    assert cloud.believed() == ("b", "verified")
    assert cloud.others() == {"dead": "pending"}
    # The dead host comes back, with what it had.
    cloud.sees("dead", "one", minute=60)
    assert cloud.others() == {"dead": "unverified"}
    assert cloud.believed() == ("b", "verified")


def test_a_host_that_invents_an_instance_of_another_host(cloud: Cloud) -> None:
    cloud.sees("a", "one")
    cloud.nova("one", host="a")
    cloud.complete(1)
    cloud.sees("liar", "one", minute=60, project_id="red")
    assert cloud.believed() == ("a", "verified")
    assert cloud.others() == {"liar": "pending"}, "until Nova was asked again"
    cloud.complete(61)
    assert cloud.others() == {"liar": "unverified"}
    # Even if the true host falls silent for ever.
    cloud.sees("a", minute=62)
    assert cloud.believed() == ("liar", "unverified")
    assert not cloud.tenant_sees()


def test_an_instance_that_nova_deleted(cloud: Cloud) -> None:
    cloud.sees("a", "one")
    cloud.complete(1)
    cloud.nova("one", minute=5, host="a", deleted_at=moment.of(minutes(5)))
    assert cloud.believed() == ("a", "pending")
    assert not cloud.tenant_sees()
    cloud.sees("a", "one", minute=6)
    assert cloud.believed() == ("a", "unverified")


def test_an_instance_without_a_host(cloud: Cloud) -> None:
    """Shelved and offloaded, or never scheduled; a domain of that name should not be there."""
    cloud.sees("a", "one")
    cloud.complete(1)
    cloud.nova("one", minute=-1, host=None)
    assert cloud.believed() == ("a", "unverified")


def test_of_two_that_nobody_confirms_the_later_report_counts(cloud: Cloud) -> None:
    cloud.sees("a", "one", minute=1)
    cloud.sees("b", "one", minute=2)
    assert cloud.believed() == ("b", "pending")
    cloud.sees("a", "one", minute=3)
    assert cloud.believed() == ("a", "pending")
    cloud.sees("b", "one", minute=3)
    assert cloud.believed() == ("a", "pending"), "one of them, always the same"


def test_without_nova_the_domain_is_taken_at_its_word(cloud: Cloud) -> None:
    cloud.sees("a", "one", project_id="red")
    cloud.sees("b", "one", minute=1, project_id="blue")
    who = scope.OfProject("blue")
    shown = store.shown(cloud.engine, who, ONE, nova=False)
    assert shown is not None and (shown.host, trust_of(shown.rank)) == ("b", "unverified")
    assert store.shown(cloud.engine, scope.OfProject("red"), ONE, nova=False) is None


def test_each_instance_is_listed_once_whatever_is_sighted(cloud: Cloud) -> None:
    draw = random.Random(3)
    names = [f"i{number}" for number in range(12)]
    for host in ("a", "b", "c"):
        cloud.sees(host, *draw.sample(names, 8), minute=draw.randrange(5))
    for name in draw.sample(names, 8):
        cloud.nova(
            name,
            minute=draw.randrange(5),
            host=draw.choice(("a", "b", "c", None)),
            other_host=draw.choice(("a", "b", None)),
        )
    cloud.complete(3)
    listed, more = store.listed(
        cloud.engine, EVERYTHING, store.Filters(), store.Page(limit=100), nova=True
    )
    assert not more
    assert [one.uuid for one in listed] == sorted({one.uuid for one in listed})
    for one in listed:
        assert one == store.shown(cloud.engine, EVERYTHING, one.uuid, nova=True)
        ranks = [other.rank for other in store.others(cloud.engine, one.uuid, nova=True)]
        assert all(one.rank <= rank for rank in ranks)


# --- lists ------------------------------------------------------------------------------------


def some_instances(cloud: Cloud, count: int = 25) -> None:
    for host in ("a", "b"):
        draw = random.Random(host)
        instances = tuple(
            reports.instance(
                f"{host}-{number}",
                disks=(
                    reports.disk(
                        identity=f"{host}-{number}",
                        host_allocated_bytes=draw.randrange(4),
                        reclaimable=reports.record.Reclaimable(
                            low=0, high=9, estimate=draw.choice((None, 1, 2)), how="trim"
                        ),
                        findings=draw.choice(((), (findings.finding("untrimmed"),))),
                    ),
                ),
            )
            for number in range(count)
        )
        state = reports.state(host, instances)
        store_report.put(
            cloud.engine, reports.full(state, agent=host), now=NOW, takeover_after_seconds=900
        )
        for one in instances:
            row = {"project_id": "red" if host == "a" else "blue", "host": host}
            with cloud.engine.begin() as connection:
                connection.execute(
                    sa.insert(instance),
                    {"uuid": one.uuid, "status": "ACTIVE", "seen_at": 0, "moved_at": 0, **row},
                )


SORTS = ("uuid", "host_allocated_bytes", "reclaimable_likely_bytes", "virtual_bytes")


@pytest.mark.parametrize("sort, descending", list(itertools.product(SORTS, (False, True))))
def test_pages_add_up_to_the_whole(cloud: Cloud, sort: Any, descending: bool) -> None:
    some_instances(cloud)
    whole, _ = store.listed(
        cloud.engine,
        EVERYTHING,
        store.Filters(),
        store.Page(limit=1000, sort=sort, descending=descending),
        nova=True,
    )
    assert len(whole) == 50
    keys = [(getattr(one, sort), one.uuid) for one in whole]
    assert keys == sorted(keys, reverse=descending)
    pages: list[store.Believed] = []
    more = True
    while more:
        marker = pages[-1].uuid if pages else None
        page = store.Page(limit=7, sort=sort, descending=descending, marker=marker)
        got, more = store.listed(cloud.engine, EVERYTHING, store.Filters(), page, nova=True)
        assert len(got) == 7 or not more
        pages += got
    assert pages == whole


def test_a_marker_of_somebody_else_is_unknown(cloud: Cloud) -> None:
    some_instances(cloud, 2)
    page = store.Page(limit=1, sort="virtual_bytes", marker=reports.uuid_of("b-0"))
    with pytest.raises(store.MarkerUnknown):
        store.listed(cloud.engine, scope.OfProject("red"), store.Filters(), page, nova=True)


@pytest.mark.parametrize(
    "filters",
    [
        store.Filters(project_id="red"),
        store.Filters(host="b"),
        store.Filters(finding="untrimmed"),
        store.Filters(finding="no-medium"),
        store.Filters(min_reclaimable_bytes=2),
        store.Filters(trust="verified"),
        store.Filters(trust="unverified"),
        store.Filters(host="a", finding="untrimmed", min_reclaimable_bytes=1),
        store.Filters(project_id="red", host="b"),
    ],
)
@pytest.mark.parametrize("who", [EVERYTHING, scope.OfProject("red")])
def test_filters(cloud: Cloud, who: scope.Scope, filters: store.Filters) -> None:
    some_instances(cloud)
    page = store.Page(limit=1000)
    everything, _ = store.listed(cloud.engine, who, store.Filters(), page, nova=True)
    assert len(everything) == (50 if who == EVERYTHING else 25)
    found, _ = store.listed(cloud.engine, who, filters, page, nova=True)

    def wanted(one: store.Believed) -> bool:
        codes = [code.code for disk in one.reported().disks for code in disk.findings]
        return (
            filters.project_id in (None, one.project_id)
            and filters.host in (None, one.host)
            and (filters.finding is None or filters.finding in codes)
            and one.reclaimable_likely_bytes >= (filters.min_reclaimable_bytes or 0)
            and filters.trust in (None, trust_of(one.rank))
        )

    assert found == [one for one in everything if wanted(one)]


def test_times_are_resolved(cloud: Cloud) -> None:
    old = NOW - datetime.timedelta(hours=2)
    cloud.sees("a", "one", minute=3)
    cloud.sees("b", "two", minute=4, as_of=old)
    one = store.shown(cloud.engine, EVERYTHING, ONE, nova=True)
    two = store.shown(cloud.engine, EVERYTHING, reports.uuid_of("two"), nova=True)
    assert one is not None and two is not None
    assert one.reported().as_of == moment.time(one.as_of) == minutes(3)
    assert one.reported().guest.checked_at == minutes(3)
    assert two.reported().as_of == moment.time(two.as_of) == old


# --- findings and hosts -------------------------------------------------------------------------


@pytest.mark.parametrize("who", [EVERYTHING, scope.OfProject("red")])
def test_pages_of_findings_add_up(cloud: Cloud, who: scope.Scope) -> None:
    some_instances(cloud)
    cloud.sees("c", "c-1", "c-2", minute=20)

    def listed(limit: int, marker: store_finding.Key | None = None) -> Any:
        return store_finding.listed(
            cloud.engine,
            who,
            store_finding.Filters(),
            nova=True,
            limit=limit,
            marker=marker,
        )

    whole, more = listed(1000)
    assert not more and len(whole) > 10
    if isinstance(who, scope.OfProject):
        assert {one.project_id for one in whole} == {"red"}
    else:
        assert {one.host for one in whole} == {"a", "b", "c"}
    pages: list[Any] = []
    more = True
    while more:
        marker = None
        if pages:
            last = pages[-1]
            host = last.host if who == EVERYTHING else None
            marker = store_finding.Key(last.code, last.uuid, host, last.origin)
        got, more = listed(3, marker)
        pages += got
    assert pages == whole


def test_findings_about_a_host_are_for_operators(cloud: Cloud) -> None:
    state = reports.state("a", (), findings=(findings.finding("inventory-stale"),))
    store_report.put(cloud.engine, reports.full(state), now=NOW, takeover_after_seconds=900)
    for who, expected in ((EVERYTHING, ["inventory-stale"]), (scope.OfProject("red"), [])):
        found, _ = store_finding.listed(
            cloud.engine, who, store_finding.Filters(), nova=True, limit=9
        )
        assert [one.code for one in found] == expected


def test_a_marker_of_a_host_that_is_not_there(cloud: Cloud) -> None:
    marker = store_finding.Key("a", ONE, "nowhere", "agent")
    with pytest.raises(store_finding.MarkerUnknown):
        store_finding.listed(
            cloud.engine, EVERYTHING, store_finding.Filters(), nova=True, limit=9, marker=marker
        )


def test_hosts_in_pages_and_their_sums(cloud: Cloud) -> None:
    nothing = store_host.Sums(0, (0, 0, 0, 0), 0, 0, 0, 0, 0, None)
    assert store_host.summed(cloud.engine, now=NOW) == nothing
    for number in range(5):
        cloud.sees(f"host-{number}", f"i-{number}", minute=-10 * number)
    names: list[str] = []
    more = True
    while more:
        marker = names[-1] if names else None
        got, more = store_host.listed(cloud.engine, limit=2, marker=marker)
        names += [one.name for one in got]
    assert names == [f"host-{number}" for number in range(5)]
    shown = store_host.shown(cloud.engine, "host-3")
    assert shown is not None and len(shown.storages) == 1
    assert store_host.shown(cloud.engine, "Host-3") is None
    sums = store_host.summed(cloud.engine, now=NOW)
    assert sums == store_host.Sums(
        hosts=5,
        reported=(1, 2, 5, 5),
        reports=5,
        instances=5,
        disks=10,
        virtual_bytes=200 * reports.GIB,
        host_allocated_bytes=10 * reports.GIB,
        oldest_age_seconds=2400.0,
    )

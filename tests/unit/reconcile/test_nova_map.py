# SPDX-License-Identifier: Apache-2.0
"""The map of Nova: what is asked, what is learnt, and what is never concluded."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from nova_diskaudit.cloud import CloudError, nova
from nova_diskaudit.reconcile import nova_map
from nova_diskaudit.store import instance as store_instance
from nova_diskaudit.store import ledger, moment, scope, task, trust
from nova_diskaudit.store import report as store_report
from nova_diskaudit.store.tables import instance
from tests import reports
from tests.fake_nova import FakeNova
from tests.unit.store import look

IDS = [reports.uuid_of(f"i{number}") for number in range(8)]
ONE = IDS[0]


class Watch:
    """The map and the clock that both sides share."""

    def __init__(self, engine: sa.Engine, cloud: nova.Nova, fake: FakeNova) -> None:
        self.engine, self.cloud, self.fake = engine, cloud, fake
        self.current: dict[str, str] = {}

    def lease(self) -> task.Lease:
        found = task.take(
            self.engine,
            "nova-map",
            "this process",
            clock=lambda: self.fake.now,
            seconds=120,
            if_due=False,
        )
        assert found is not None
        return found

    def passes(self, minutes: float = 1) -> nova_map.Pass:
        self.fake.now += datetime.timedelta(minutes=minutes)
        return nova_map.refresh(self.lease(), self.cloud, whole_every_seconds=86400.0)

    def sees(self, host: str, *uuids: str) -> None:
        self.fake.now += datetime.timedelta(seconds=1)
        now = self.fake.now
        state = reports.state(host, tuple(map(reports.instance, uuids)), as_of=now)
        report = reports.full(state, replaces=self.current.get(host), agent=host, sent_at=now)
        store_report.put(self.engine, report, now=now, takeover_after_seconds=900)
        self.current[host] = state.id

    def hosts(self) -> dict[str, tuple[str | None, str | None]]:
        return {
            row.uuid: (row.host, row.other_host)
            for row in look.rows(self.engine, instance)
            if row.deleted_at is None
        }

    def trust(self, uuid: str = ONE) -> tuple[str, str] | None:
        found = store_instance.shown(self.engine, scope.Everything(), uuid, nova=True)
        return None if found is None else (found.host, trust.word(found.rank))


@pytest.fixture
def watch(engine: sa.Engine, cloud: nova.Nova, fake: FakeNova) -> Watch:
    return Watch(engine, cloud, fake)


def test_the_first_pass_lists_everything(watch: Watch) -> None:
    for number, uuid in enumerate(IDS):
        watch.fake.boot(uuid, "ab"[number % 2], project=f"p{number}")
    watch.fake.boot(reports.uuid_of("shelved"), None, status="SHELVED_OFFLOADED")
    watch.fake.boot(reports.uuid_of("soft"), "a", status="SOFT_DELETED")
    watch.fake.boot(reports.uuid_of("gone"), "a", status="DELETED")
    done = watch.passes()
    assert done == nova_map.Pass(whole=True, instances=10, news=10)
    assert watch.fake.asked.count("/servers/detail") == 4
    assert watch.hosts()[IDS[1]] == ("b", None)
    row = next(row for row in look.rows(watch.engine, instance) if row.uuid == IDS[3])
    assert (row.project_id, row.user_id, row.name, row.status) == ("p3", "rosa", "web", "ACTIVE")
    assert (row.root_gb, row.ephemeral_gb, row.swap_mb) == (20, 0, 0)


def test_later_passes_ask_for_changes(watch: Watch) -> None:
    for uuid in IDS:
        watch.fake.boot(uuid, "a")
    watch.passes()
    watch.passes(minutes=10)
    quiet = watch.passes()
    assert quiet == nova_map.Pass(whole=False, instances=0, news=0)
    watch.fake.move(IDS[2], "b")
    watch.fake.change(IDS[3], status="DELETED")
    watch.fake.boot(reports.uuid_of("new"), "b")
    assert watch.passes().news == 3
    assert watch.hosts()[IDS[2]] == ("b", None)
    assert IDS[3] not in watch.hosts()
    assert watch.hosts()[reports.uuid_of("new")] == ("b", None)
    again = watch.passes(minutes=0)
    assert again.news == 0, "what overlaps is no news"


def test_an_instance_that_comes_back(watch: Watch) -> None:
    watch.fake.boot(ONE, "a")
    watch.passes()
    watch.fake.change(ONE, status="DELETED")
    watch.passes()
    assert ONE not in watch.hosts()
    watch.fake.change(ONE, status="ACTIVE")
    watch.passes()
    assert ONE in watch.hosts()


def test_what_was_archived_meanwhile_is_found_by_a_list(watch: Watch) -> None:
    for uuid in IDS:
        watch.fake.boot(uuid, "a")
    watch.passes()
    del watch.fake.servers[ONE]
    watch.passes()
    assert ONE in watch.hosts(), "no answer about changes can tell"
    done = watch.passes(minutes=24 * 60 + 1)
    assert done.whole and done.news == 1
    assert ONE not in watch.hosts()


def test_a_list_that_was_due_while_a_cell_was_down_deletes_nothing(watch: Watch) -> None:
    watch.fake.boot(ONE, "a")
    watch.fake.boot(IDS[1], "c")
    watch.passes()
    watch.fake.down = {"cell2"}
    done = watch.passes(minutes=24 * 60 + 1)
    assert done.whole and done.problem == "1 hosts are in cells that are down: c"
    assert set(watch.hosts()) == {ONE, IDS[1]}


def test_a_cell_that_is_down_hides_nothing_for_ever(watch: Watch) -> None:
    watch.fake.boot(ONE, "c")
    watch.sees("c", ONE)
    watch.passes()
    assert watch.trust() == ("c", "verified")
    watch.fake.down = {"cell2"}
    watch.fake.move(ONE, "b")
    before = ledger.state(watch.engine)
    for _ in range(3):
        assert watch.passes(minutes=30).problem is not None
    after = ledger.state(watch.engine)
    assert after.complete_at == before.complete_at
    assert after.changes_since_at == before.changes_since_at
    assert after.refreshed_at != before.refreshed_at
    assert watch.trust() == ("c", "verified"), "what was known stands"
    watch.fake.down = set()
    watch.passes(minutes=30)
    assert watch.hosts()[ONE] == ("b", None)
    assert ledger.state(watch.engine).problem is None


def test_a_cell_that_goes_down_in_the_middle_is_noticed(watch: Watch) -> None:
    watch.fake.boot(ONE, "c")
    watch.fake.before["/servers/detail"] = lambda: watch.fake.down.add("cell2")
    assert watch.passes().problem is not None
    assert ledger.state(watch.engine).complete_at is None


def test_what_a_cell_that_is_down_might_have_stays_pending(watch: Watch) -> None:
    watch.passes()
    watch.fake.down = {"cell2"}
    watch.sees("c", ONE)
    watch.passes()
    assert watch.trust() == ("c", "pending")
    watch.fake.down = set()
    watch.passes()
    assert watch.trust() == ("c", "unverified")


@pytest.mark.parametrize(
    "fault",
    [
        ("/os-services", 503, b""),
        ("/servers/detail", 500, b"{}"),
        ("/servers/detail", 403, b"{}"),
        ("/servers/detail", 200, b"<html>"),
        ("/servers/detail", 200, b'{"servers": [{"id": "x"}]}'),
        ("/servers/detail", 200, b'{"servers": [{"id":"x","status":"ACTIVE","tenant_id":"y"}]}'),
        ("/os-migrations", 404, b"{}"),
        ("/os-migrations", 200, b"[]"),
    ],
)
def test_a_nova_that_is_not_well_changes_nothing(
    watch: Watch, fault: tuple[str, int, bytes]
) -> None:
    watch.fake.boot(ONE, "a")
    watch.passes()
    before = ledger.state(watch.engine)
    # openstacksdk asks again three times when a service is not available.
    watch.fake.faults = [fault] * (3 if fault[1] == 503 else 1)
    watch.fake.move(ONE, "b")
    done = watch.passes()
    assert done.problem is not None
    after = ledger.state(watch.engine)
    assert after.problem == done.problem and "\n" not in done.problem
    assert after.complete_at == before.complete_at
    assert after.changes_since_at == before.changes_since_at
    assert watch.hosts() == {ONE: ("a", None)}
    assert watch.passes().problem is None
    assert watch.hosts() == {ONE: ("b", None)}


def test_a_nova_that_is_away(watch: Watch) -> None:
    watch.fake.__exit__()
    done = watch.passes()
    assert done.problem is not None


def test_a_marker_that_disappears_between_two_pages(watch: Watch) -> None:
    for uuid in IDS:
        watch.fake.boot(uuid, "a")
    first = sorted(IDS)[2]
    count = 0

    def vanish() -> None:
        nonlocal count
        count += 1
        if count == 2:
            watch.fake.change(first, status="DELETED")

    watch.fake.before["/servers/detail"] = vanish
    assert watch.passes().problem is not None
    assert watch.passes().problem is None
    assert set(watch.hosts()) == set(IDS) - {first}


def test_migrations_open_and_close(watch: Watch) -> None:
    watch.fake.boot(ONE, "a")
    watch.sees("a", ONE)
    watch.passes()
    watch.fake.migrate(ONE, "a", None, "accepted")
    watch.passes()
    assert watch.hosts()[ONE] == ("a", None)
    watch.fake.migrate(ONE, "a", "b", "running")
    watch.sees("b", ONE)
    watch.passes()
    assert watch.hosts()[ONE] == ("a", "b")
    assert watch.trust() == ("a", "verified")
    watch.fake.move(ONE, "b")
    watch.fake.migrate(ONE, "a", "b", "completed")
    watch.passes()
    assert watch.hosts()[ONE] == ("b", None)
    assert watch.trust() == ("b", "verified")


def test_a_migration_that_ends_while_nova_is_asked(watch: Watch) -> None:
    """Migrations are asked for first: whatever happens between, one host is accepted."""
    watch.fake.boot(ONE, "a")
    watch.sees("a", ONE)
    watch.passes()
    watch.fake.migrate(ONE, "a", "b", "running")
    watch.sees("b", ONE)

    def end() -> None:
        watch.fake.move(ONE, "b")
        watch.fake.migrate(ONE, "a", "b", "completed")

    watch.fake.before["/servers/detail"] = end
    watch.passes()
    assert watch.hosts()[ONE] == ("b", "a")
    assert watch.trust() == ("b", "verified")


def test_a_resize_waits_and_is_reverted(watch: Watch) -> None:
    watch.fake.boot(ONE, "a")
    watch.passes()
    watch.fake.move(ONE, "b")
    watch.fake.change(ONE, status="VERIFY_RESIZE")
    watch.fake.migrate(ONE, "a", "b", "finished")
    watch.passes()
    assert watch.hosts()[ONE] == ("b", "a")
    watch.fake.move(ONE, "a")
    watch.fake.migrate(ONE, "a", "b", "reverted")
    watch.passes()
    assert watch.hosts()[ONE] == ("a", None)


def test_when_an_instance_moved_is_when_it_was_learnt(watch: Watch) -> None:
    watch.fake.boot(ONE, "a")
    watch.sees("a", ONE)
    watch.passes()
    watch.fake.move(ONE, "b")
    watch.passes()
    assert watch.trust() == ("a", "pending"), "the source has not reported since"
    watch.sees("a", ONE)
    assert watch.trust() == ("a", "unverified")
    watch.passes()
    watch.sees("b", ONE)
    assert watch.trust() == ("b", "verified")


def test_a_lease_that_was_lost_writes_nothing(watch: Watch) -> None:
    watch.fake.boot(ONE, "a")

    def stolen() -> None:
        later = watch.fake.now + datetime.timedelta(hours=1)
        thief = task.take(
            watch.engine, "nova-map", "thief", clock=lambda: later, seconds=120, if_due=False
        )
        assert thief is not None

    watch.fake.before["/servers/detail"] = stolen
    with pytest.raises(task.LeaseLost):
        watch.passes()
    assert look.rows(watch.engine, instance) == []


def test_a_process_that_is_to_end_breaks_off(watch: Watch) -> None:
    for uuid in IDS:
        watch.fake.boot(uuid, "a")
    told: list[int] = []
    lease = task.take(
        watch.engine,
        "nova-map",
        "this process",
        clock=lambda: watch.fake.now,
        seconds=120,
        stop=lambda: bool(told),
    )
    assert lease is not None
    with pytest.raises(task.Stopped):
        nova_map.refresh(
            lease,
            watch.cloud,
            whole_every_seconds=86400.0,
            tell=lambda phase, done, total: told.append(done),
        )
    assert told == [3] and len(look.rows(watch.engine, instance)) == 3
    assert watch.passes().instances == len(IDS), "from the begin, by whoever comes next"


def test_a_flavor_that_promises_less_than_there_is(watch: Watch) -> None:
    code = "host-claim-implausible"
    watch.sees("a", ONE)  # two disks of 20 GiB
    watch.fake.boot(ONE, "a")
    watch.passes()
    assert look.codes(watch.engine, "reconcile", ONE) == {code}
    found = store_instance.shown(watch.engine, scope.Everything(), ONE, nova=True)
    assert found is not None and found.service_codes == code
    watch.fake.change(ONE, flavor={"disk": 20, "ephemeral": 20, "swap": ""})
    watch.passes()
    assert look.codes(watch.engine, "reconcile", ONE) == set()
    # The other way round: what is known of the flavor, and a report with more.
    big = reports.instance(ONE, disks=(reports.disk(virtual_bytes=42 * reports.GIB),))
    state = reports.state("a", (big,))
    report = reports.full(state, agent="a", replaces=watch.current["a"], sent_at=watch.fake.now)
    store_report.put(watch.engine, report, now=watch.fake.now, takeover_after_seconds=900)
    assert look.codes(watch.engine, "reconcile", ONE) == {code}


@pytest.mark.parametrize(
    "changes",
    [
        {"flavor": {"disk": 0, "ephemeral": 0, "swap": 0}},
        {"status": "RESCUE"},
        {"OS-EXT-SRV-ATTR:host": "b"},
        {"flavor": {}},
    ],
)
def test_what_a_flavor_does_not_tell(watch: Watch, changes: dict[str, Any]) -> None:
    watch.sees("a", ONE)
    watch.fake.boot(ONE, "a", **changes)
    watch.passes()
    assert look.codes(watch.engine, "reconcile") == set()


def test_clocks_are_novas_own(watch: Watch) -> None:
    """Nova's clock is an hour behind this service's."""
    watch.fake.boot(ONE, "a")
    real = watch.fake.now
    ahead = datetime.timedelta(hours=1)
    for minutes in (1, 2, 3):
        watch.fake.now = real + datetime.timedelta(minutes=minutes)
        if minutes == 2:
            watch.fake.move(ONE, "b")
        lease = task.take(
            watch.engine, "nova-map", "x", clock=lambda: watch.fake.now + ahead, seconds=120
        )
        assert lease is not None
        done = nova_map.refresh(lease, watch.cloud, whole_every_seconds=86400.0)
        assert done.problem is None
    assert watch.hosts()[ONE] == ("b", None)
    since = ledger.state(watch.engine).changes_since_at
    assert since is not None and moment.time(since) == watch.fake.now


def test_a_nova_without_dates_tells_its_time_by_its_computes(watch: Watch) -> None:
    """uWSGI's own HTTP writes no ``Date``; seen at Nova 34."""
    watch.fake.dated = False
    watch.fake.boot(ONE, "a")
    assert watch.passes().problem is None
    since = ledger.state(watch.engine).changes_since_at
    assert since is not None and moment.time(since) == watch.fake.now - watch.fake.heartbeat
    watch.fake.move(ONE, "b")
    assert watch.passes().problem is None
    assert watch.hosts()[ONE] == ("b", None)
    assert not watch.passes().whole


def test_a_nova_that_tells_no_time_is_listed_again(watch: Watch) -> None:
    watch.fake.dated = False
    watch.fake.hosts.clear()
    for _ in range(2):
        done = watch.passes()
        assert done.problem is None and done.whole


def test_errors_are_one_line(cloud: nova.Nova, fake: FakeNova) -> None:
    fake.faults = [("/os-services", 400, b"x\ny" * 1000)]
    with pytest.raises(CloudError) as error:
        cloud.health()
    assert "\n" not in str(error.value) and len(str(error.value)) < 400

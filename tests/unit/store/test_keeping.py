# SPDX-License-Identifier: Apache-2.0
"""What operators do to the database: tables, enrollments, purging, demands."""

from __future__ import annotations

import datetime
import itertools
import pathlib

import pytest
import sqlalchemy as sa

from nova_diskaudit import protocol
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import (
    enrollment,
    errors,
    finding,
    host,
    moment,
    purge,
    schema,
    tables,
    transaction,
)
from nova_diskaudit.store import report as store_report
from tests import reports
from tests.unit.store import look

NOW = reports.NOW


def put(engine: sa.Engine, report: protocol.Report, now: datetime.datetime = NOW) -> None:
    store_report.put(engine, report, now=now, takeover_after_seconds=900)


# --- tables -----------------------------------------------------------------------------------


def test_the_migrations_lead_to_the_tables(engine: sa.Engine) -> None:
    assert schema.current(engine) == schema.newest()
    assert schema.differences(engine) == []
    schema.require_newest(engine)
    schema.answers(engine)


def test_once_more_changes_nothing(engine: sa.Engine) -> None:
    put(engine, reports.full(reports.state(instances=(reports.instance("one"),))))
    schema.sync(engine)
    assert look.state(engine, "compute-1") is not None


def test_what_differs_is_told(tmp_path: pathlib.Path) -> None:
    engine = store_engine.create(f"sqlite:///{tmp_path}/x.sqlite")
    assert schema.current(engine) is None
    with pytest.raises(errors.SchemaError, match="db sync"):
        schema.require_newest(engine)
    schema.sync(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX ix_sighting_uuid"))
        connection.execute(sa.text("ALTER TABLE host ADD COLUMN more TEXT"))
    told = schema.differences(engine)
    assert len(told) == 2
    assert any("ix_sighting_uuid" in line for line in told)
    assert any("more" in line for line in told)
    engine.dispose()


def test_tables_that_are_missing_are_the_operators_to_make(tmp_path: pathlib.Path) -> None:
    engine = store_engine.create(f"sqlite:///{tmp_path}/x.sqlite")
    with pytest.raises(errors.SchemaError, match="db sync"):
        host.shown(engine, "compute-1")
    with pytest.raises(errors.SchemaError, match="db sync"):
        put(engine, reports.full(reports.state()))
    engine.dispose()


def test_a_file_that_only_its_owner_and_group_can_read(tmp_path: pathlib.Path) -> None:
    engine = store_engine.create(f"sqlite:///{tmp_path}/new/x.sqlite")
    schema.sync(engine)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750
    for file in (tmp_path / "new").iterdir():
        assert file.stat().st_mode & 0o777 == 0o640, file
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "oracle://x/y",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql+nodriver://x/y",
        "sqlite:////proc/nowhere/x.sqlite",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(errors.StoreError) as error:
        store_engine.create(url)
    assert "\n" not in str(error.value)


# --- who may report ------------------------------------------------------------------------------


def host_of(engine: sa.Engine, credential: str) -> str | None:
    with transaction.read(engine) as connection:
        return enrollment.host_of(connection, credential)


def test_enrollments(engine: sa.Engine) -> None:
    for credential, name in (("c1", "a"), ("c2", "a"), ("c3", "b")):
        enrollment.enroll(engine, credential, name, at=1)
    enrollment.enroll(engine, "c1", "a", at=2)
    assert enrollment.listed(engine, "a") == [("c1", "a", 1), ("c2", "a", 1)]
    assert len(enrollment.listed(engine)) == 3
    with pytest.raises(enrollment.Enrolled, match="host a"):
        enrollment.enroll(engine, "c1", "b", at=3)
    assert (host_of(engine, "c1"), host_of(engine, "c3")) == ("a", "b")
    assert enrollment.revoke(engine, "a", "c3") == 0
    assert enrollment.revoke(engine, "a", "c1") == 1
    assert host_of(engine, "c1") is None
    enrollment.enroll(engine, "c1", "b", at=4)
    assert enrollment.revoke(engine, "b") == 2
    assert enrollment.listed(engine) == [("c2", "a", 1)]


def test_credentials_are_compared_to_the_letter(engine: sa.Engine) -> None:
    enrollment.enroll(engine, "abc", "a", at=1)
    assert host_of(engine, "ABC") is None


def test_a_host_that_somebody_spoke_for(engine: sa.Engine) -> None:
    enrollment.enroll(engine, "c1", "a", at=1)
    put(engine, reports.full(reports.state("b")))
    with transaction.read(engine) as connection:
        assert enrollment.is_claimed(connection, "a")
        assert enrollment.is_claimed(connection, "b")
        assert not enrollment.is_claimed(connection, "c")


# --- purging ------------------------------------------------------------------------------------


def test_silent_hosts_are_removed_with_all_that_they_said(engine: sa.Engine) -> None:
    old, young = NOW, NOW + datetime.timedelta(days=10)
    enrollment.enroll(engine, "c1", "old", at=1)
    put(engine, reports.full(reports.state("old", (reports.instance("one"),))), old)
    kept = reports.state("young", (reports.instance("one"), reports.instance("two")))
    put(engine, reports.full(kept, sent_at=young), young)
    before = {table.name: len(look.rows(engine, table)) for table in tables.metadata.sorted_tables}
    done = purge.purge(engine, before=NOW + datetime.timedelta(days=5))
    assert done == purge.Purged(hosts=1, instances=0)
    assert look.state(engine, "old") is None
    assert look.state(engine, "young") == kept
    after = {table.name: len(look.rows(engine, table)) for table in tables.metadata.sorted_tables}
    assert (before["sighting"], after["sighting"]) == (3, 2)
    assert (before["storage"], after["storage"]) == (2, 1)
    # clock-skew of the host that was old already then goes as well
    assert after["finding"] == 8
    assert after["enrollment"] == 1, "nobody else shall be it"


def test_what_nova_deleted_and_nobody_reports(engine: sa.Engine) -> None:
    names = [f"i{number}" for number in range(1200)]
    put(engine, reports.full(reports.state(instances=(reports.instance("i3"),))))
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.instance),
            [
                {
                    "uuid": reports.uuid_of(name),
                    "project_id": "p",
                    "status": "DELETED",
                    "seen_at": 0,
                    "moved_at": 0,
                    "deleted_at": moment.of(NOW) if number % 2 else None,
                }
                for number, name in enumerate(names)
            ],
        )
    done = purge.purge(engine, before=NOW + datetime.timedelta(days=1))
    # i3 is sighted, and purging it would make an unverified instance an unknown one.
    assert done == purge.Purged(hosts=1, instances=600)
    assert len(look.rows(engine, tables.instance)) == 600


def test_a_host_that_comes_back_begins_anew(engine: sa.Engine) -> None:
    first = reports.state(instances=(reports.instance("one"),))
    put(engine, reports.full(first))
    purge.purge(engine, before=NOW + datetime.timedelta(days=1))
    second = reports.state(instances=(reports.instance("one"), reports.instance("two")))
    judged = store_report.put(
        engine, reports.delta(first, second), now=NOW, takeover_after_seconds=900
    )
    assert judged == protocol.ChainBroken(None)
    put(engine, reports.full(second))
    assert look.state(engine, "compute-1") == second


# --- demands ------------------------------------------------------------------------------------


def test_full_reports_are_demanded(engine: sa.Engine) -> None:
    states = {}
    for name in ("a", "b"):
        states[name] = reports.state(name, (reports.instance("one"),))
        put(engine, reports.full(states[name]))
    fresh = map(reports.uuid_of, itertools.count())
    assert host.demand_full(engine, "a", new_id=lambda: next(fresh)) == 1
    assert host.demand_full(engine, "nowhere", new_id=lambda: next(fresh)) == 0
    for name, expected in (
        ("a", protocol.ChainBroken(reports.uuid_of(0))),
        ("b", protocol.Accepted()),
    ):
        later = reports.changed(states[name], id=reports.uuid_of(name, "later"))
        judged = store_report.put(
            engine,
            reports.delta(states[name], later),
            now=NOW,
            takeover_after_seconds=900,
        )
        assert judged == expected
    assert host.demand_full(engine, None, new_id=lambda: next(fresh)) == 2


# --- findings of this service -------------------------------------------------------------------


def test_each_origin_writes_its_own(engine: sa.Engine) -> None:
    put(engine, reports.full(reports.state(instances=(reports.instance("one"),))))
    uuid, host_id = reports.uuid_of("one"), look.rows(engine, tables.host)[0].id
    ours = finding.Change(
        uuid=uuid, before=frozenset(), now={"untrimmed": "info"}, messages={"untrimmed": "x"}
    )
    with engine.begin() as connection:
        finding.replace(connection, host_id, "reconcile", [ours], received=5)
    assert "untrimmed" in look.codes(engine, "agent", uuid) & look.codes(engine, "reconcile", uuid)
    assert finding.own(engine, [(host_id, uuid)]) == {
        (host_id, uuid): [finding.Own("untrimmed", "info", "x")]
    }
    assert finding.own(engine, [(host_id, "other")]) == {(host_id, "other"): []}
    gone = finding.Change(uuid=uuid, before=frozenset({"untrimmed"}), now={})
    with engine.begin() as connection:
        finding.replace(connection, host_id, "agent", [gone], received=6)
    assert "untrimmed" not in look.codes(engine, "agent", uuid)
    assert look.codes(engine, "reconcile", uuid) == {"untrimmed"}

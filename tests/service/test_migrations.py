# SPDX-License-Identifier: Apache-2.0
"""Migrations on databases that have rows: from every revision there was, to the newest."""

from __future__ import annotations

import functools
import pathlib
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import alembic.command
import alembic.config
import alembic.script
import pytest
import sqlalchemy as sa

import nova_diskaudit.store
from nova_diskaudit import findings, protocol
from nova_diskaudit.store import body, errors, schema, sighting, tables
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import report as store_report
from tests import reports
from tests.service.conftest import Server
from tests.unit.store import look

_ROWS = 5


def _config() -> alembic.config.Config:
    config = alembic.config.Config()
    where = pathlib.Path(nova_diskaudit.store.__file__).parent / "migrations"
    config.set_main_option("script_location", str(where))
    config.set_main_option("path_separator", "os")
    return config


def _revisions() -> list[str]:
    """From the first to the newest."""
    script = alembic.script.ScriptDirectory.from_config(_config())
    return [one.revision for one in reversed(list(script.walk_revisions()))]


@pytest.fixture
def bare(server: Server) -> Iterator[sa.Engine]:
    """A database without any table."""
    name = f"t{secrets.token_hex(4)}"
    engine = store_engine.create(server.create_database(name))
    yield engine
    engine.dispose()
    server.drop_database(name)


def _upgrade(engine: sa.Engine, revision: str) -> None:
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, revision)


def _tables(engine: sa.Engine) -> list[sa.Table]:
    found = sa.MetaData()
    found.reflect(engine)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def _value(column: sa.Column[Any], number: int) -> Any:
    """Some value, different for each number."""
    if column.type.python_type is bytes:
        return bytes([number]) * 16
    if isinstance(column.type, sa.Integer):
        return number + 1
    length = getattr(column.type, "length", None) or 36
    return reports.uuid_of(column.name, number)[:length]


def _counts(engine: sa.Engine, names: list[str]) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            name: connection.scalar(sa.select(sa.func.count()).select_from(sa.table(name))) or 0
            for name in names
        }


@pytest.mark.parametrize("revision", _revisions())
def test_rows_of_any_revision_reach_the_newest(bare: sa.Engine, revision: str) -> None:
    _upgrade(bare, revision)
    tables = _tables(bare)
    with bare.begin() as connection:
        for table in tables:
            connection.execute(
                sa.insert(table),
                [{c.name: _value(c, number) for c in table.columns} for number in range(_ROWS)],
            )
    schema.sync(bare)
    assert schema.current(bare) == schema.newest() == _revisions()[-1]
    assert schema.differences(bare) == []
    kept = [table.name for table in tables if table.name in {t.name for t in _tables(bare)}]
    assert _counts(bare, kept) == dict.fromkeys(kept, _ROWS)


def test_a_store_in_use_is_synced_again_without_a_trace(bare: sa.Engine) -> None:
    schema.sync(bare)
    state = reports.state("compute-1", (reports.instance("one"), reports.instance("two")))
    store_report.put(bare, reports.full(state), now=reports.NOW, takeover_after_seconds=900)
    schema.sync(bare)
    assert look.state(bare, "compute-1") == state
    assert schema.differences(bare) == []


def test_a_database_that_was_never_synced_is_said_to_be_so(bare: sa.Engine) -> None:
    assert schema.current(bare) is None
    with pytest.raises(errors.SchemaError, match="db sync"):
        schema.require_newest(bare)
    state = reports.state("compute-1")
    with pytest.raises(errors.SchemaError):
        store_report.put(bare, reports.full(state), now=reports.NOW, takeover_after_seconds=900)


def test_many_sync_at_once(bare: sa.Engine) -> None:
    """As when all the machines of a deployment start the service's new release together."""
    failed: list[BaseException] = []

    def sync() -> None:
        try:
            schema.sync(bare)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=sync) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failed == []
    assert schema.differences(bare) == []


def test_sightings_of_before_the_bounds_are_told_anew(bare: sa.Engine) -> None:
    """2026_11_2: agents that go on from what they know are asked for everything, once."""
    _upgrade(bare, "2026_11_1")
    states = {
        name: reports.state(name, (reports.instance(f"{name}-1"), _hung(f"{name}-2")))
        for name in ("compute-1", "compute-2")
    }
    old = {table.name: table for table in _tables(bare)}
    with bare.begin() as connection:
        for number, state in enumerate(states.values(), 1):
            connection.execute(sa.insert(old["host"]), _host_of_old(number, state))
            for instance in state.instances:
                row = {**sighting.row(instance, received=0), "host_id": number}
                kept = {name: row[name] for name in old["sighting"].c.keys()}  # noqa: SIM118
                connection.execute(sa.insert(old["sighting"]), kept)
    schema.sync(bare)
    rows = look.rows(bare, tables.sighting)
    assert {row.digest for row in rows} == {bytes(16)}
    assert [row.used_high_bytes for row in rows] == [None] * 4
    assert sorted(row.host_reason or "" for row in rows) == ["", "", "not-told", "not-told"]
    current = {row.name: row.report_id for row in look.rows(bare, tables.host)}
    assert len({*current.values(), *(state.id for state in states.values())}) == 4
    for name, state in states.items():
        later = reports.changed(state, id=reports.uuid_of(name, "later"))
        put = functools.partial(store_report.put, bare, now=reports.NOW, takeover_after_seconds=900)
        # Whoever reported before is another agent to this row: it was made by hand.
        delta = reports.delta(state, later, agent=name)
        assert put(delta) == protocol.ChainBroken(current[name])
        assert put(reports.full(later, agent=name, replaces=current[name])) == protocol.Accepted()
        assert look.state(bare, name) == later
    rows = look.rows(bare, tables.sighting)
    assert sorted(row.host_reason or "" for row in rows) == ["", "", "file-missing", "file-missing"]
    assert (
        sorted(row.used_high_bytes for row in rows) == [2 * reports.GIB] * 2 + [4 * reports.GIB] * 2
    )
    assert [row.reports for row in look.rows(bare, tables.host)] == [1, 1]


def _hung(name: str) -> protocol.Instance:
    missing = reports.disk(host_allocated_bytes=None, findings=(findings.finding("file-missing"),))
    return reports.instance(name, disks=(missing,))


def _host_of_old(number: int, state: protocol.State) -> dict[str, Any]:
    return {
        "id": number,
        "name": state.host,
        "report_id": state.id,
        "agent": reports.uuid_of(state.host),
        "as_of": 0,
        "received_at": 0,
        "codes": "",
        "service_codes": "",
        "findings": body.pack(body.encode(())),
        "instances": 2,
        "disks": 3,
        "virtual_bytes": 1,
        "host_allocated_bytes": 1,
    }

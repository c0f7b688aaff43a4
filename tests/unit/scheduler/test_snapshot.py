# SPDX-License-Identifier: Apache-2.0
"""What one look at the service means for a host, by whichever clock."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.scheduler import snapshot
from nova_diskaudit.scheduler.snapshot import Ages, Moment, Reading, Rules, Snapshot

GIB = 2**30
NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
RULES = Rules(min_free_ratio=0.1, min_free_bytes=20 * GIB, max_age=900.0)


def at(seconds: float, *, wall: float | None = None) -> Moment:
    """So many seconds after noon; ``wall``: what the other clock says."""
    ahead = datetime.timedelta(seconds=seconds if wall is None else wall)
    return Moment(monotonic=1000.0 + seconds, utc=NOON + ahead)


def storage(**changes: Any) -> dict[str, Any]:
    plain = {
        "identity": "local:compute-1:8:1",
        "kind": "local",
        "path": "/",
        "fs_type": "xfs",
        "total_bytes": 1000 * GIB,
        "free_bytes": 500 * GIB,
        "inodes_free": 10**6,
        "virtual_sum_bytes": 0,
        "image_cache_bytes": None,
        "managed_save_bytes": None,
        "leftovers": [],
        "findings": [],
        "instances_path": "/var/lib/nova/instances",
    }
    return plain | changes


def told(name: str, *storages: dict[str, Any], seconds: float = 0) -> SimpleNamespace:
    """A host as openstacksdk gives it, whose report came so many seconds after noon."""
    received = (NOON + datetime.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return SimpleNamespace(name=name, received_at=received, storages=list(storages), findings=[])


def look(
    *hosts: Any, now: Moment, ages: Ages | None = None, before: Any = None
) -> dict[str, Reading | None]:
    ages = ages or Ages()
    entries = [one for one in map(snapshot.host, hosts) if one is not None]
    found = dict(snapshot.readings(entries, ages, now, RULES, before or {}))
    ages.close(now.monotonic)
    return found


def one_reading(*storages: dict[str, Any], now: Moment | None = None) -> Reading | None:
    return look(told("compute-1", *storages), now=now or at(0))["compute-1"]


# --- which storage ------------------------------------------------------------------------------


def test_the_storage_of_the_instances_path_counts_and_no_other() -> None:
    other = storage(identity="local:compute-1:8:2", free_bytes=1, instances_path=None)
    reading = one_reading(other, storage(), other)
    assert reading is not None
    assert (reading.free_bytes, reading.is_full) == (500 * GIB, False)


def test_an_older_agent_is_understood_by_the_image_cache() -> None:
    other = storage(free_bytes=1, instances_path=None)
    base = storage(instances_path=None, image_cache_bytes=7)
    reading = one_reading(other, base)
    assert reading is not None and reading.free_bytes == 500 * GIB
    del base["instances_path"]
    assert one_reading(base) is not None


def test_of_several_the_one_with_least_counts() -> None:
    reading = one_reading(storage(), storage(identity="x", free_bytes=21 * GIB))
    assert reading is not None and reading.free_bytes == 21 * GIB


@pytest.mark.parametrize(
    "storages",
    [
        (),
        (storage(instances_path=None),),
        (storage(free_bytes=None),),
        (storage(total_bytes=None),),
        # More than there is.
        (storage(free_bytes=1001 * GIB),),
        # One of two that tells nothing could be the fuller one.
        (storage(), storage(identity="x", free_bytes=None)),
    ],
)
def test_what_is_not_told_is_no_reading(storages: tuple[dict[str, Any], ...]) -> None:
    assert one_reading(*storages) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"received_at": None},
        {"received_at": "yesterday"},
        {"received_at": "2026-01-02T12:00:00"},
        {"storages": None},
        {"storages": [{"identity": 1, "kind": "local"}]},
        {"storages": [storage(free_bytes="much")]},
        {"findings": [{}]},
        {"name": None},
    ],
)
def test_an_entry_of_another_form_is_none(changes: dict[str, Any]) -> None:
    entry = told("compute-1", storage())
    vars(entry).update(changes)
    assert snapshot.host(entry) is None
    assert snapshot.host(object()) is None


# --- the watermark ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "total", "full"),
    [
        (100, 1000, False),
        (99, 1000, True),
        (20, 100, False),
        (19, 100, True),
        (0, 0, True),
    ],
)
def test_a_host_is_full_by_the_share_or_by_the_bytes(free: int, total: int, full: bool) -> None:
    reading = one_reading(storage(free_bytes=free * GIB, total_bytes=total * GIB))
    assert reading is not None and reading.is_full == full


# --- age ----------------------------------------------------------------------------------------


def test_a_report_holds_for_so_long_and_not_longer() -> None:
    found = Snapshot({"compute-1": one_reading(storage(), now=at(100))}, {})  # type: ignore[dict-item]
    assert found.reading("compute-1", at(900).monotonic) is not None
    assert found.reading("compute-1", at(901).monotonic) is None
    assert found.unheard == set()
    assert found.reading("compute-2", at(0).monotonic) is None
    assert found.unheard == {"compute-2"}


def test_a_host_that_is_silent_grows_old_however_often_it_is_looked_at() -> None:
    ages = Ages()
    for seconds in range(0, 2000, 100):
        (reading,) = look(told("compute-1", storage()), now=at(seconds), ages=ages).values()
        assert reading is not None
        assert reading.good_until == at(900).monotonic


def test_clocks_that_step_change_nothing_after_the_first_look() -> None:
    ages = Ages()
    look(told("compute-1", storage()), now=at(10), ages=ages)
    # An hour forward, an hour back, and each time the host has reported.
    for seconds, wall in ((130, 3730), (250, -3350)):
        host = told("compute-1", storage(), seconds=seconds - 60)
        (reading,) = look(host, now=at(seconds, wall=wall), ages=ages).values()
        assert reading is not None
        age = at(seconds).monotonic - (reading.good_until - RULES.max_age)
        assert 0 <= age <= 120
    # And when it does not report any more, no step makes it young again.
    (later,) = look(host, now=at(370, wall=-9999), ages=ages).values()
    assert later is not None and later.good_until == reading.good_until


@given(
    st.lists(st.tuples(st.integers(1, 600), st.integers(-7200, 7200), st.booleans()), min_size=1)
)
def test_an_age_is_never_less_than_it_is_nor_more_than_two_looks(
    looks: list[tuple[int, int, bool]],
) -> None:
    """After the first look, whatever the clocks do: by the truth, which the test knows."""
    ages, now, reported = Ages(), 0.0, 0.0
    last = ages.made_at("host", NOON, at(0))
    ages.close(at(0).monotonic)
    for pause, skew, reports in looks:
        before, now = now, now + pause
        if reports:
            reported = now - pause / 2
        stamp = NOON + datetime.timedelta(seconds=reported)
        made_at = ages.made_at("host", stamp, at(now, wall=now + skew))
        ages.close(at(now).monotonic)
        if reports:
            assert at(before).monotonic <= made_at <= at(now).monotonic
        else:
            assert made_at == last
        last = made_at


def test_forgotten_is_what_a_look_did_not_bring() -> None:
    ages = Ages()
    look(told("compute-1", storage()), now=at(0), ages=ages)
    look(now=at(100), ages=ages)
    (again,) = look(told("compute-1", storage()), now=at(200), ages=ages).values()
    assert again is not None and again.good_until == at(100).monotonic + RULES.max_age


# --- shared storage -----------------------------------------------------------------------------


def nfs(**changes: Any) -> dict[str, Any]:
    return storage(identity="nfs:filer:/nova", kind="nfs", **changes)


def test_hosts_of_one_storage_have_the_same_identity_and_others_never() -> None:
    found = look(
        told("compute-1", nfs()),
        told("compute-2", nfs()),
        # A host that says of its own disk that it is another's.
        told("compute-3", storage(identity="local:compute-4:8:1")),
        told("compute-4", storage(identity="local:compute-4:8:1")),
        now=at(0),
    )
    identities = {name: one.identity for name, one in found.items() if one is not None}
    assert len(identities) == 4
    assert identities["compute-1"] == identities["compute-2"]
    assert len(set(identities.values())) == 3


def test_what_a_silent_host_shares_is_known_by_the_others() -> None:
    found = look(
        told("silent", nfs(free_bytes=500 * GIB)),
        told("fresh", nfs(free_bytes=1), seconds=1000),
        told("older", nfs(free_bytes=2), seconds=500),
        told("alone", storage()),
        now=at(1000),
    )
    assert {name: one.free_bytes for name, one in found.items() if one is not None} == {
        "silent": 1,
        "fresh": 1,
        "older": 2,  # its own word before that of others
        "alone": 500 * GIB,
    }
    known = Snapshot({name: one for name, one in found.items() if one is not None}, {})
    now = at(1001).monotonic
    assert known.reading("silent", now) is not None
    assert known.reading("alone", now) is None


# --- what Nova placed since ---------------------------------------------------------------------


def test_what_nova_took_counts_until_the_report_after_the_next() -> None:
    ages = Ages()

    def turn(seconds: float, reported: float, before: Any) -> Reading:
        host = told("compute-1", storage(), seconds=reported)
        (reading,) = look(host, now=at(seconds), ages=ages, before=before).values()
        assert reading is not None
        return reading

    first = turn(0, 0, {})
    assert first.promised_bytes("compute-1", 1000) == 0
    assert first.promised_bytes("compute-1", 400) == 600 * 2**20
    # Looked at again before the host has reported again: the same reading.
    assert turn(120, 0, {"compute-1": first}) is first
    second = turn(240, 200, {"compute-1": first})
    assert second.promised_bytes("compute-1", 400) == 600 * 2**20
    assert second.promised_bytes("compute-1", 300) == 700 * 2**20
    third = turn(600, 500, {"compute-1": second})
    assert third.promised_bytes("compute-1", 300) == 100 * 2**20
    fourth = turn(900, 800, {"compute-1": third})
    assert fourth.promised_bytes("compute-1", 300) == 0
    # What went away is in no report yet either, and is not promised to anybody.
    assert fourth.promised_bytes("compute-1", 900) == 0


# --- projects -----------------------------------------------------------------------------------


def test_a_project_is_past_its_limit_for_as_long_as_that_is_known() -> None:
    found = Snapshot({}, {"p": 10.0})
    assert found.is_past_limit("p", 10.0)
    assert not found.is_past_limit("p", 10.1)
    assert not found.is_past_limit("q", 0.0)
    assert not found.is_past_limit(None, 0.0)

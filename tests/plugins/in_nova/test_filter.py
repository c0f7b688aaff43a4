# SPDX-License-Identifier: Apache-2.0
"""ActualDiskFilter in Nova's own machinery."""

from __future__ import annotations

import logging
import time
from typing import Any

import nova.conf
import nova.objects
import pytest
from nova.scheduler import filters as nova_filters

from nova_diskaudit.scheduler import keeper

from .conftest import host, reading, request

HOSTS = [host("empty"), host("full"), host("stale"), host("stranger")]


@pytest.fixture
def known(plugins: Any) -> Any:
    plugins.know(
        empty=reading(500),
        full=reading(1, is_full=True),
        stale=reading(0, is_full=True, good_until=time.monotonic() - 1),
    )
    return plugins


def test_it_is_what_nova_takes_for_a_filter(plugins: Any) -> None:
    assert isinstance(plugins.filter, nova_filters.BaseHostFilter)
    assert not plugins.filter.RUN_ON_REBUILD
    assert plugins.filter.run_filter_for_index(0)
    assert not plugins.filter.run_filter_for_index(1)


def test_a_full_host_is_refused_and_who_is_not_known_is_not(known: Any) -> None:
    assert known.filtered(HOSTS) == ["empty", "stale", "stranger"]
    assert known.snapshot.unheard == {"stranger"}


def test_without_a_snapshot_there_is_no_opinion(plugins: Any) -> None:
    assert plugins.filtered(HOSTS) == [one.host for one in HOSTS]


def test_a_rebuild_stays_where_it_is(known: Any) -> None:
    assert known.filtered(HOSTS, request(hints={"_nova_check_type": ["rebuild"]})) == [
        one.host for one in HOSTS
    ]


@pytest.mark.parametrize(
    ("wanted", "refused"),
    [
        ({"is_bfv": True}, False),
        ({"is_bfv": True, "ephemeral_gb": 1}, True),
        ({"is_bfv": True, "swap": 64}, True),
        ({"is_bfv": False}, True),
        # A request of an old Nova does not tell.
        ({"is_bfv": None}, True),
    ],
)
def test_a_server_on_volumes_alone_needs_no_disk(
    known: Any, wanted: dict[str, Any], refused: bool
) -> None:
    assert ("full" not in known.filtered(HOSTS, request(**wanted))) == refused


@pytest.mark.parametrize(
    ("destination", "refused"),
    [
        (None, True),
        # By name, or by an aggregate of its tenant: it is new all the same.
        ({"host": "empty"}, True),
        ({"aggregates": []}, True),
        # Bound to the cell that it is in, or free of it by right: it is there and is moved.
        ({"cell": True}, False),
        ({"host": "empty", "cell": True}, False),
        ({"cell": None, "allow_cross_cell_move": True}, False),
    ],
)
def test_a_project_past_its_limit_gets_no_new_server(
    known: Any, destination: dict[str, Any] | None, refused: bool
) -> None:
    known.snapshot.projects = {"p": time.monotonic() + 1000}
    if destination is not None:
        if destination.get("cell"):
            destination["cell"] = nova.objects.CellMapping(uuid="c")
        destination = nova.objects.Destination(**destination)
    found = known.filtered(HOSTS, request(destination=destination))
    assert found == ([] if refused else ["empty", "stale", "stranger"])
    assert "empty" in known.filtered(HOSTS, request(project_id="q"))


def test_what_was_known_of_a_project_is_forgotten(known: Any) -> None:
    known.snapshot.projects = {"p": time.monotonic() - 1}
    assert "empty" in known.filtered(HOSTS)


def test_a_fault_of_ours_is_told_once_and_refuses_nobody(
    plugins: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(keeper.of(nova.conf.CONF), "current", fail)
    with caplog.at_level(logging.ERROR):
        assert plugins.filtered(HOSTS) == [one.host for one in HOSTS]
        assert plugins.filtered(HOSTS) == [one.host for one in HOSTS]
    assert len(caplog.records) == 1

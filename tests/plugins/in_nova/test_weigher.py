# SPDX-License-Identifier: Apache-2.0
"""ActualDiskWeigher in Nova's own machinery."""

from __future__ import annotations

import logging
import time
from typing import Any

import nova.conf
import pytest
from nova.scheduler import weights as nova_weights

from nova_diskaudit.scheduler import keeper

from .conftest import WEIGHER, host, reading, request


def test_it_is_what_nova_takes_for_a_weigher(plugins: Any) -> None:
    assert isinstance(plugins.weigher, nova_weights.BaseHostWeigher)
    assert plugins.weigher.weight_multiplier(host("a")) == 1.0


def test_more_free_bytes_come_first(plugins: Any) -> None:
    plugins.know(a=reading(10), b=reading(30), c=reading(20))
    assert plugins.weighed([host("a"), host("b"), host("c")]) == ["b", "c", "a"]


def test_who_is_not_known_is_in_the_middle(plugins: Any) -> None:
    old = time.monotonic() - 1
    plugins.know(a=reading(10), b=reading(30), stale=reading(99, good_until=old))
    hosts = [host(name) for name in ("a", "b", "stale", "stranger")]
    order = plugins.weighed(hosts)
    assert (order[0], order[-1]) == ("b", "a")
    assert plugins.weigher.weigh_objects(
        [nova_weights.WeighedHost(one, 0.0) for one in hosts], request()
    ) == [10 * 2**30, 30 * 2**30, 20 * 2**30, 20 * 2**30]


def test_without_a_snapshot_all_are_equal(plugins: Any) -> None:
    hosts = [host("a"), host("b")]
    weights = plugins.weigher.weigh_objects(
        [nova_weights.WeighedHost(one, 0.0) for one in hosts], request()
    )
    assert weights == [0.0, 0.0]
    assert plugins.weighed(hosts) == ["a", "b"]


def test_a_negative_multiplier_fills_one_after_the_other(
    plugins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nova.conf.CONF.set_override("weight_multiplier", -2.0, group="nova_diskaudit")
    try:
        (cls,) = plugins.weight_handler.get_matching_classes([WEIGHER])
        plugins.weigher = cls()
    finally:
        nova.conf.CONF.clear_override("weight_multiplier", group="nova_diskaudit")
    plugins.know(a=reading(10), b=reading(30))
    assert plugins.weighed([host("a"), host("b")]) == ["a", "b"]


def test_many_servers_do_not_follow_each_other_to_one_host(plugins: Any) -> None:
    """Twenty in one request, and twenty requests: none of them is in a report yet."""
    plugins.know(a=reading(100), b=reading(95), c=reading(10))
    hosts = {name: host(name) for name in "abc"}
    placed = []
    for _ in range(20):
        first = plugins.weighed(list(hosts.values()))[0]
        hosts[first].consume_from_request(request())
        placed.append(first)
    assert placed[:6] == ["a"] * 6
    assert 6 <= placed.count("b") <= 8 and "c" not in placed


def test_hosts_of_one_storage_have_one_storage(plugins: Any) -> None:
    """What one of them takes is gone for the other as well."""
    shared = reading(100, identity="nfs:filer:/nova")
    again = reading(100, identity="nfs:filer:/nova")
    plugins.know(a=shared, b=again, c=reading(98))
    hosts = {name: host(name) for name in "abc"}
    plugins.weighed(list(hosts.values()))
    for _ in range(3):
        hosts["a"].consume_from_request(request())
    weights = plugins.weigher.weigh_objects(
        [nova_weights.WeighedHost(one, 0.0) for one in hosts.values()], request()
    )
    assert weights == [97 * 2**30, 97 * 2**30, 98 * 2**30]


def test_a_fault_of_ours_is_told_once_and_prefers_nobody(
    plugins: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(keeper.of(nova.conf.CONF), "current", fail)
    hosts = [host("a"), host("b")]
    with caplog.at_level(logging.ERROR):
        assert plugins.weighed(hosts) == plugins.weighed(hosts) == ["a", "b"]
    assert len(caplog.records) == 1


def test_an_option_that_cannot_be_used_is_told_and_turns_it_off(
    plugins: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (cls,) = plugins.weight_handler.get_matching_classes([WEIGHER])
    group = type(nova.conf.CONF.nova_diskaudit)

    def refuse(self: Any, name: str) -> None:
        raise ValueError(name)

    monkeypatch.setattr(group, "__getattr__", refuse)
    assert cls().weight_multiplier(host("a")) == 0.0
    assert "ActualDiskWeigher is off" in caplog.text

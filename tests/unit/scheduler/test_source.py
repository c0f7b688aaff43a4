# SPDX-License-Identifier: Apache-2.0
"""Looks at the central service itself, without Keystone on loopback."""

from __future__ import annotations

import logging
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import keystoneauth1.exceptions
import pytest
from oslo_config import cfg

from nova_diskaudit import findings
from nova_diskaudit.conf import ConfigurationError
from nova_diskaudit.conf import scheduler as options
from nova_diskaudit.scheduler import source
from nova_diskaudit.scheduler.source import Source
from tests import reports
from tests.contract.services import Service, central_service


@pytest.fixture
def service(tmp_path: pathlib.Path) -> Iterator[Service]:
    with central_service(tmp_path) as running:
        yield running


def configuration(url: str | None, **own: Any) -> cfg.ConfigOpts:
    """Nova's configuration, as far as it matters here."""
    conf = cfg.ConfigOpts()
    options.register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    for name, value in own.items():
        conf.set_override(name, value, group="nova_diskaudit")
    if url is not None:
        source.disk_audit.register(conf)
        conf.set_override("auth_type", "none", group="disk_audit")
        conf.set_override("endpoint_override", url, group="disk_audit")
    return conf


def report(service: Service, name: str, **changes: Any) -> None:
    state = reports.state(name, (), storages=(reports.storage(**changes),))
    assert service.send(reports.full(state)).status == 200


def test_a_look_tells_who_is_full(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    report(service, "empty", identity="a")
    report(service, "full", identity="b", free_bytes=2**30)
    report(service, "elsewhere", identity="c", instances_path=None, image_cache_bytes=None)
    look = Source(configuration(service.url))
    with caplog.at_level(logging.INFO):
        found = look()
        again = look()
    assert {name: one.is_full for name, one in found.readings.items()} == {
        "empty": False,
        "full": True,
    }
    assert found.readings["empty"].free_bytes == 2**41
    assert found.unclear == {"elsewhere"}
    # Nothing was reported between, and nothing is said twice.
    assert again.readings["full"] is found.readings["full"]
    assert [one.getMessage() for one in caplog.records if one.name == source.__name__] == [
        "Disk audit: the figures of 2 hosts are known",
        "Disk audit: 1 hosts too full for new servers: full",
        "Disk audit: 1 hosts whose report does not tell what is free for instances, no opinion "
        "about them: elsewhere",
    ]


def test_many_hosts_come_in_pages(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_PAGE", 3)
    names = [f"compute-{number}" for number in range(10)]
    for name in names:
        report(service, name, identity=name)
    assert sorted(Source(configuration(service.url))().readings) == names
    monkeypatch.setattr(source, "_MOST_HOSTS", 5)
    assert len(Source(configuration(service.url))().readings) == 5


def test_old_and_unheard_hosts_are_told_of(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    report(service, "old")
    service.let_pass(-3600)
    report(service, "older", identity="b")
    service.let_pass(3600)
    look = Source(configuration(service.url))
    with caplog.at_level(logging.WARNING):
        found = look()
        now = time.monotonic()
        assert found.reading("old", now) is not None
        assert found.reading("older", now) is None
        assert found.reading("stranger", now) is None
        look()
    assert [one.getMessage().partition(":")[2] for one in caplog.records] == [
        " 1 hosts with an old report, no opinion about them: older",
        " 1 hosts of Nova that do not report, no opinion about them: stranger",
    ]


def test_projects_are_asked_for_only_if_that_is_wanted(service: Service) -> None:
    instances = (reports.instance("one"),)
    implausible = findings.finding("host-claim-implausible")
    state = reports.state("compute-1", instances, findings=(implausible,))
    assert service.send(reports.full(state)).status == 200
    assert Source(configuration(service.url))().projects == {}
    # No limits are kept here, so nobody can be past one.
    assert Source(configuration(service.url, project_limits=True))().projects == {}


def test_a_service_that_is_away_is_an_error_and_then_another_try(service: Service) -> None:
    report(service, "compute-1")
    conf = configuration("http://127.0.0.1:1")
    look = Source(conf)
    with pytest.raises(keystoneauth1.exceptions.ConnectFailure):
        look()
    conf.set_override("endpoint_override", service.url, group="disk_audit")
    assert set(look().readings) == {"compute-1"}


def test_without_credentials_it_says_what_is_missing() -> None:
    with pytest.raises(ConfigurationError, match=r"\[disk_audit\] auth_type is not set"):
        Source(configuration(None))()

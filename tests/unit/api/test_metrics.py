# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told."""

from __future__ import annotations

import datetime
import pathlib
from typing import Any

import falcon.testing
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nova_diskaudit import record
from nova_diskaudit.api import app, exposition
from nova_diskaudit.conf import service as conf_service
from nova_diskaudit.store import host, moment, rollup, usage
from tests import reports
from tests.unit.api import service
from tests.unit.api.conftest import OPERATOR, Client, made
from tests.unit.render import golden

NOW = reports.NOW
AT = moment.of(NOW)


def of(project: str, number: int, **changes: Any) -> usage.Usage:
    sums = usage.Sums(*range(number, number + len(usage.Sums._fields)))
    return usage.Usage(project, AT, AT, sums._replace(**changes), number, 1, 2, 3, ())


def sample() -> exposition.Numbers:
    return exposition.Numbers(
        hosts=host.Sums(12, (8, 9, 10, 11), 4711, 600, 1200, 2**50, 2**40, 99.5),
        nova_complete_at=AT - 30 * 10**6,
        rollup=rollup.State(
            computed_at=AT - 120 * 10**6,
            seconds=3.25,
            counted=rollup.Counted(
                findings=(("untrimmed", "warning", 7), ("other", "info", 2)),
                reasons=(
                    usage.Reason("agent-absent", "guest", 40),
                    usage.Reason("not-reported", "host", 3),
                ),
            ),
            instances_at=AT,
            reports_purged=100,
        ),
        largest=usage.Largest(
            [of("5b8e3a6f0d5c4ea0b1d7a1f43c9e2a11", 1000), of('ha"d\\', 10, used_high_bytes=None)],
            of(exposition.OTHERS, 0),
        ),
        gnocchi_sent_at=AT - 45 * 10**6,
    )


def numbers(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_golden() -> None:
    golden.check("service.prom", exposition.render(sample(), NOW))


def test_before_the_first_roll_up_there_are_no_projects() -> None:
    nothing = usage.Largest([], of(exposition.OTHERS, 0))
    text = exposition.render(
        sample()._replace(
            rollup=rollup.State(None, None, rollup.Counted(), None, 0),
            nova_complete_at=None,
            largest=nothing,
        ),
        NOW,
    )
    names = {name for name, _ in numbers(text)}
    assert not any("project" in name or "rollup" in name or "nova_map" in name for name in names)


def test_every_family_is_told_of_a_full_cloud() -> None:
    told = {
        family.name for family in text_string_to_metric_families(exposition.render(sample(), NOW))
    }
    known = {f"nova_diskaudit_{name}".removesuffix("_total") for name in exposition._FAMILIES}
    assert told == known


def cloud(client: Client, projects: int) -> None:
    names = [f"i{number}" for number in range(projects)]
    instances = tuple(
        reports.instance(
            name,
            disks=(reports.disk(identity=name, host_allocated_bytes=10 * number),),
            findings=(record.Finding(code=f"invented-{number}", severity="info", message=""),),
        )
        for number, name in enumerate(names)
    )
    client.report(reports.full(reports.state(instances=instances)))
    for number, name in enumerate(names):
        service.nova_says(client.database, reports.uuid_of(name), project_id=f"p{number}")
    service.roll_up(client.database)


def told(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.simulate_get("/metrics", headers=OPERATOR)
    assert answer.status_code == 200
    return numbers(answer.text)


@pytest.mark.parametrize("limit", [0, 1, 3, 5, 9])
def test_so_many_projects_and_the_rest_in_one(tmp_path: pathlib.Path, limit: int) -> None:
    client = made(tmp_path, metrics_projects=limit)
    client.enroll("compute-1")
    cloud(client, 5)
    held = {
        dict(labels)["project_id"]: value
        for (name, labels), value in told(client).items()
        if name == "nova_diskaudit_project_host_allocated_bytes"
    }
    shown = {f"p{number}": 10 * number for number in range(5) if number >= 5 - limit}
    assert held == {**shown, exposition.OTHERS: 100 - sum(shown.values())}
    client.database.dispose()


def test_a_project_that_is_called_as_the_others_is_one_of_them(tmp_path: pathlib.Path) -> None:
    """Prometheus would refuse everything for one series that comes twice."""
    client = made(tmp_path)
    client.enroll("compute-1")
    cloud(client, 2)
    for number, project in enumerate(("p0", exposition.OTHERS)):
        service.nova_says(client.database, reports.uuid_of(f"i{number}"), project_id=project)
    service.roll_up(client.database)
    key = ("nova_diskaudit_project_instances", (("project_id", exposition.OTHERS),))
    assert told(client)[key] == 1
    client.database.dispose()


def test_what_anybody_can_invent_makes_no_series(client: Client) -> None:
    cloud(client, 9)
    codes = {
        dict(labels)["code"]: value
        for (name, labels), value in told(client).items()
        if name == "nova_diskaudit_service_findings"
    }
    assert not any(code.startswith("invented") for code in codes)
    assert codes["other"] == 9


def test_reports_are_counted_and_replays_are_not(client: Client) -> None:
    one = reports.full(reports.state())
    for _ in range(3):
        client.report(one)
    client.report(reports.full(reports.state("compute-2")))
    assert told(client)["nova_diskaudit_service_reports_accepted_total", ()] == 2


# --- without a token ----------------------------------------------------------------------------


@pytest.fixture
def alone_with_metrics(tmp_path: pathlib.Path) -> falcon.testing.TestClient:
    made_service, _, _ = service.made(tmp_path)
    conf = conf_service.unread()
    conf([], project=conf_service.PROJECT, default_config_files=[], default_config_dirs=[])
    application = app.metrics_alone(conf, made_service)
    return falcon.testing.TestClient(lambda environ, begin: application(environ, begin))


def test_on_loopback_no_token_is_needed(alone_with_metrics: falcon.testing.TestClient) -> None:
    here: dict[str, Any] = {"host": "127.0.0.1", "remote_addr": "127.0.0.1"}
    answer = alone_with_metrics.simulate_get("/metrics", **here)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    for path in ("/", "/v1/instances", "/v1/usages", "/v1/openapi.json", "/healthcheck"):
        assert alone_with_metrics.simulate_get(path, **here).status_code == 404
    for elsewhere in (
        {"host": "127.0.0.1", "remote_addr": "192.0.2.7"},
        {"host": "disk.example.org", "remote_addr": "127.0.0.1"},
        {**here, "headers": {"X-Forwarded-For": "192.0.2.7"}},
    ):
        options: dict[str, Any] = elsewhere
        assert alone_with_metrics.simulate_get("/metrics", **options).status_code == 403


def test_ages_grow(client: Client) -> None:
    cloud(client, 1)
    later = NOW + datetime.timedelta(seconds=90)
    numbers_then = numbers(exposition.render(sample(), later))
    assert numbers_then["nova_diskaudit_service_rollup_age_seconds", ()] == 210
    assert numbers_then["nova_diskaudit_service_nova_map_age_seconds", ()] == 120

# SPDX-License-Identifier: Apache-2.0
"""What is answered about usages; that the sums are right is held in the tests of the store."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from nova_diskaudit import findings, record
from nova_diskaudit.store import history, moment
from tests import reports
from tests.unit.api import service
from tests.unit.api.conftest import BLUE, OPERATOR, RED, Client, made
from tests.unit.store.test_usage import many_hours

ZERO = {"instances": 0, "host_measured": 0, "guest_measured": 0, "stale": 0, "reasons": []}


def filled(client: Client) -> None:
    """red has a measured instance, a hung one and one that nobody reports; blue has one."""
    hung = reports.instance(
        "hung",
        guest=record.Guest(state="agent-absent"),
        disks=(
            reports.disk(
                host_allocated_bytes=None,
                guest_used_bytes=None,
                used=record.Used(bytes=None, low=0, high=None, basis="host"),
                reclaimable=record.Reclaimable(low=0, high=None, estimate=None, how="none"),
                findings=(findings.finding("storage-unresponsive", "/secret"),),
            ),
        ),
    )
    instances = (reports.instance("one"), hung, reports.instance("theirs"))
    client.report(reports.full(reports.state(instances=instances)))
    for name, project in (("one", "red"), ("hung", "red"), ("theirs", "blue"), ("lost", "red")):
        service.nova_says(client.database, reports.uuid_of(name), project_id=project)


def refused(client: Client, path: str, headers: dict[str, str] = OPERATOR) -> str:
    answer = client.simulate_get(path, headers=headers)
    assert answer.status_code == 400, answer.text
    detail: str = json.loads(answer.text)["errors"][0]["detail"]
    return detail


def test_a_tenants_usage(client: Client) -> None:
    filled(client)
    (one,) = client.see("/v1/usages", RED)["usages"]
    assert one["coverage"] == {
        "instances": 3,
        "host_measured": 1,
        "guest_measured": 1,
        "stale": 0,
        "reasons": [
            {"code": "agent-absent", "lacks": "guest", "instances": 1},
            {"code": "not-reported", "lacks": "guest", "instances": 1},
            {"code": "not-reported", "lacks": "host", "instances": 1},
            {"code": "storage-unresponsive", "lacks": "host", "instances": 1},
        ],
    }
    totals = one["totals"]
    assert (totals["disks"], totals["host_allocated_unknown"]) == (3, 1)
    assert totals["used_low_bytes"] == 4 * reports.GIB
    assert totals["used_high_bytes"] == 24 * reports.GIB, "a disk is never used beyond its size"
    assert totals["reclaimable_high_bytes"] is None, "nothing bounds what is not known"
    assert "secret" not in json.dumps(one)


def test_a_tenant_without_data_gets_an_entry(client: Client) -> None:
    (one,) = client.see("/v1/usages", BLUE)["usages"]
    assert one["project_id"] == "blue" and one["as_of"] is None
    assert one["computed_at"] == "2026-01-02T03:04:05Z"
    assert one["coverage"] == ZERO
    assert set(one["totals"].values()) == {0}
    assert [limit["limit_gib"] for limit in one["limits"]] == [None, None, None]


def test_old_reports_are_stale(tmp_path: pathlib.Path) -> None:
    client = made(tmp_path, stale_after_seconds=-1.0)
    client.enroll("compute-1")
    filled(client)
    (one,) = client.see("/v1/usages", RED)["usages"]
    assert one["coverage"]["stale"] == 2
    client.database.dispose()


def test_without_nova_nothing_is_verified(alone: Client) -> None:
    alone.report(reports.full(reports.state(instances=(reports.instance("one"),))))
    project = "5b8e3a6f0d5c4ea0b1d7a1f43c9e2a11"
    (one,) = alone.see("/v1/usages", {}, project_id=project)["usages"]
    assert (one["verified"], one["coverage"]["instances"]) == (False, 1)


def test_the_list_of_all_is_that_of_the_last_roll_up(client: Client) -> None:
    filled(client)
    assert client.see("/v1/usages")["usages"] == []
    service.roll_up(client.database)
    usages = client.see("/v1/usages")["usages"]
    assert [one["project_id"] for one in usages] == ["blue", "red"]
    for one in usages:
        (live,) = client.see("/v1/usages", project_id=one["project_id"])["usages"]
        assert one == live


def test_a_page_has_a_hundred_unless_more_is_wanted(client: Client) -> None:
    for number in range(130):
        uuid = reports.uuid_of(number)
        service.nova_says(client.database, uuid, project_id=f"p{number:03d}")
    service.roll_up(client.database)
    answer = client.see("/v1/usages")
    assert len(answer["usages"]) == 100
    assert answer["usages_links"][0]["href"].endswith("/v1/usages?marker=p099")
    assert len(client.see("/v1/usages", marker="p099")["usages"]) == 30
    assert len(client.see("/v1/usages", limit=120)["usages"]) == 120


def test_a_marker_beyond_ones_own(client: Client) -> None:
    filled(client)
    assert len(client.see("/v1/usages", RED, marker="reb")["usages"]) == 1
    for marker in ("red", "ree"):
        assert client.see("/v1/usages", RED, marker=marker)["usages"] == []


def test_the_past_in_pages(client: Client) -> None:
    many_hours(client.database, 5)
    path, seen = "/v1/usages/history?project_id=red&limit=2", []
    while path:
        answer = json.loads(client.simulate_get(path, headers=OPERATOR).text)
        seen += [one["at"] for one in answer["history"]]
        links = answer["history_links"]
        path = links[0]["href"].partition("127.0.0.1")[2] if links else ""
    assert seen == [f"1970-01-01T0{hour}:00:00Z" for hour in range(5)]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?start=2026-01-01T00:00:00Z",
        "?project_id=red&start=yesterday",
        "?project_id=red&start=2026-01-01T00:00:00",
        "?project_id=red&end=2026-13-01T00:00:00Z",
        "?project_id=red&marker=12",
        "?project_id=red&marker=",
        "?project_id=",
        "?instance=red",
        "?instance=",
        "?project_id=red&project_id=blue",
        "?project_id=red&limit=0",
        "?project_id=red&limit=-1",
        "?project_id=red&interval=hour",
        "?project_id=" + "x" * 65,
        "?project_id=a%00b",
    ],
)
def test_questions_about_the_past_that_are_none(client: Client, query: str) -> None:
    assert refused(client, f"/v1/usages/history{query}")


@pytest.mark.parametrize(
    "query",
    ["?project_id=", "?limit=x", "?marker=", "?host=a", "?project_id=a%0ab", "?limit=2147483648"],
)
def test_questions_about_usages_that_are_none(client: Client, query: str) -> None:
    assert refused(client, f"/v1/usages{query}")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
@pytest.mark.parametrize("name", ["start", "end", "marker"])
def test_times_at_the_ends_of_the_calendar(client: Client, name: str, time: str) -> None:
    many_hours(client.database, 2)
    answer = client.see("/v1/usages/history", project_id="red", **{name: time})
    is_after = (name == "end") == time.startswith("9")
    assert len(answer["history"]) == (2 if is_after else 0)


def test_the_past_of_an_instance(client: Client) -> None:
    filled(client)
    service.roll_up(client.database)
    uuid = reports.uuid_of("hung")
    for headers, count in ((RED, 1), (OPERATOR, 1), (BLUE, 0)):
        answer = client.see("/v1/usages/history", headers, instance=uuid)
        assert answer["interval"] == "day" and len(answer["history"]) == count
    (point,) = client.see("/v1/usages/history", RED, instance=uuid)["history"]
    assert point["at"] == "2026-01-02T00:00:00Z"
    assert point["coverage"] == {"instances": 1, "host_measured": 0, "guest_measured": 0}
    assert point["totals"]["host_allocated_unknown"] == 1
    lost: Any = client.see("/v1/usages/history", RED, instance=reports.uuid_of("lost"))
    assert lost["history"] == []


def test_the_past_of_a_project_counts_what_was_observed(client: Client) -> None:
    filled(client)
    service.roll_up(client.database)
    (point,) = client.see("/v1/usages/history", RED)["history"]
    assert point["at"] == moment.time(
        moment.of(reports.NOW) // history.HOUR * history.HOUR
    ).isoformat().replace("+00:00", "Z")
    assert point["coverage"] == {"instances": 2, "host_measured": 1, "guest_measured": 1}

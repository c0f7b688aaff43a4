# SPDX-License-Identifier: Apache-2.0
"""What is answered about instances, findings and hosts."""

from __future__ import annotations

import datetime
import json
import random
import urllib.parse
from typing import Any

import prometheus_client.parser
import pytest

from nova_diskaudit import findings
from tests import reports
from tests.unit.api import service
from tests.unit.api.conftest import OPERATOR, RED, Client

ONE = reports.uuid_of("one")


def cloud(client: Client, *, of: dict[str, str] | None = None) -> None:
    """compute-1 has one (red), two (blue) and three (nobody's)."""
    instances = tuple(reports.instance(name) for name in ("one", "two", "three"))
    client.report(reports.full(reports.state(instances=instances)))
    service.nova_says(client.database, ONE, project_id="red")
    service.nova_says(client.database, reports.uuid_of("two"), project_id="blue", name="db")


def refused(client: Client, path: str, headers: dict[str, str] = OPERATOR) -> dict[str, Any]:
    answer = client.simulate_get(path, headers=headers)
    body = json.loads(answer.text)
    one: dict[str, Any] = body["errors"][0]
    assert one["status"] == answer.status_code
    return one


def test_what_an_operator_sees_of_an_instance(client: Client) -> None:
    cloud(client)
    shown = client.see(f"/v1/instances/{ONE}")
    assert shown["uuid"] == ONE
    assert (shown["name"], shown["project_id"], shown["user_id"]) == ("web", "red", "rosa")
    assert (shown["host"], shown["domain"]) == ("compute-1", "instance-0000002a")
    assert (shown["verified"], shown["trust"]) == (True, "verified")
    assert shown["as_of"] == shown["received_at"] == "2026-01-02T03:04:05Z"
    assert shown["guest"]["checked_at"] == "2026-01-02T03:04:05Z"
    assert shown["totals"] == {
        "disks": 2,
        "virtual_bytes": 40 * reports.GIB,
        "virtual_unknown": 0,
        "host_allocated_bytes": 2 * reports.GIB,
        "host_allocated_unknown": 0,
        "guest_used_bytes": reports.GIB,
        "guest_used_unknown": 0,
        "used_low_bytes": 4 * reports.GIB,
        "used_high_bytes": 4 * reports.GIB,
        "reclaimable_low_bytes": 0,
        "reclaimable_likely_bytes": 2 * reports.GIB,
        "reclaimable_high_bytes": 6 * reports.GIB,
    }
    assert [disk["target"] for disk in shown["disks"]] == ["vda", "vdb"]
    assert shown["disks"][0]["source"].startswith("/var/lib/nova")
    assert shown["other_sightings"] == []
    assert [one["code"] for one in shown["disks"][0]["findings"]] != []


def test_what_a_tenant_does_not_see_of_the_host(client: Client) -> None:
    cloud(client)
    shown = client.see(f"/v1/instances/{ONE}", RED)
    assert shown["project_id"] == "red" and shown["verified"] is True
    for name in ("host", "domain", "claimed_project_id"):
        assert shown[name] is None
    assert "other_sightings" not in shown
    for disk in shown["disks"]:
        assert disk["source"] is disk["identity"] is disk["storage_identity"] is None
        assert disk["host_allocated_bytes"] == reports.GIB
    for path in (f"/v1/instances/{ONE}", "/v1/instances", "/v1/findings"):
        text = client.simulate_get(path, headers=RED).text
        for secret in ("compute-1", "/var/lib/nova", "instance-0000002a", reports.STORAGE):
            assert secret not in text


def test_who_is_listed(client: Client) -> None:
    cloud(client)
    everything = client.see("/v1/instances")["instances"]
    assert {one["uuid"]: one["trust"] for one in everything} == {
        ONE: "verified",
        reports.uuid_of("two"): "verified",
        reports.uuid_of("three"): "pending",
    }
    assert [one["uuid"] for one in client.see("/v1/instances", RED)["instances"]] == [ONE]
    service.nova_was_complete(client.database, service.NOW + datetime.timedelta(seconds=1))
    three = client.see(f"/v1/instances/{reports.uuid_of('three')}")
    assert (three["verified"], three["trust"]) == (False, "unverified")
    assert three["project_id"] is None
    assert three["claimed_project_id"] is not None


def test_another_sighting_is_shown_to_operators(client: Client) -> None:
    cloud(client)
    client.report(reports.full(reports.state("compute-2", (reports.instance("one"),))))
    shown = client.see(f"/v1/instances/{ONE}")
    assert shown["host"] == "compute-1"
    assert [(one["host"], one["trust"]) for one in shown["other_sightings"]] == [
        ("compute-2", "pending")
    ]
    assert len(client.see("/v1/instances")["instances"]) == 3


def test_pages_are_linked(client: Client) -> None:
    draw = random.Random(1)
    instances = tuple(reports.instance(f"i{n}", draw=draw) for n in range(7))
    client.report(reports.full(reports.state(instances=instances)))
    for sort in ("uuid", "host_allocated_bytes:desc", "reclaimable_likely_bytes:asc"):
        path: str | None = f"/v1/instances?limit=3&sort={sort}&trust=pending&fields=uuid,totals"
        pages = []
        while path is not None:
            answer = client.simulate_get(path, headers=OPERATOR, host="api.example", port=8788)
            assert answer.status_code == 200, answer.text
            pages.append(answer.json["instances"])
            links = answer.json["instances_links"]
            assert [link["rel"] for link in links] in (["next"], [])
            path = None
            if links:
                parts = urllib.parse.urlsplit(links[0]["href"])
                assert (parts.netloc, parts.path) == ("api.example:8788", "/v1/instances")
                path = f"{parts.path}?{parts.query}"
        assert list(map(len, pages)) == [3, 3, 1]
        flat = [one for page in pages for one in page]
        assert {one["uuid"] for one in flat} == {one.uuid for one in instances}
        assert all(set(one) == {"uuid", "totals"} for one in flat)
        if sort != "uuid":
            sizes = [one["totals"][sort.partition(":")[0]] for one in flat]
            assert sizes == sorted(sizes, reverse=sort.endswith("desc"))


def test_a_page_is_never_longer_than_allowed(client: Client) -> None:
    instances = tuple(reports.instance(f"i{n}") for n in range(5))
    client.report(reports.full(reports.state(instances=instances)))
    answer = client.see("/v1/instances", limit=2**31 - 1)
    assert len(answer["instances"]) == 5


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=99999999999999999999",
        "limit=%31%00",
        "limit=1&limit=2",
        "min_reclaimable=1.5",
        "min_reclaimable=-1",
        "min_reclaimable=9223372036854775808",
        "marker=x",
        f"marker={ONE.upper()}",
        "sort=secret",
        "sort=uuid:up",
        "sort=uuid%00",
        "fields=nothing",
        "fields=uuid;host",
        "fields=",
        "trust=maybe",
        "host=%00",
        "host=a%0ab",
        "project_id=%00",
        "project_id=",
        "finding=Not_A_Code",
        "unknown=1",
        "=",
    ],
)
def test_questions_that_are_none(client: Client, query: str) -> None:
    assert refused(client, f"/v1/instances?{query}")["code"] == "bad-request"


def test_a_name_that_looks_like_nothing_is_a_name(client: Client) -> None:
    cloud(client)
    for word in ("null", "None", "true", "0"):
        assert client.see("/v1/instances", project_id=word)["instances"] == []
        assert client.see("/v1/instances", host=word)["instances"] == []


@pytest.mark.parametrize("path", ["/v1/instances", "/v1/findings"])
def test_a_tenant_does_not_ask_for_hosts(client: Client, path: str) -> None:
    assert refused(client, f"{path}?host=compute-1", RED)["status"] == 403


def test_a_tenant_who_asks_for_another_project_gets_nothing(client: Client) -> None:
    cloud(client)
    for path, noun in (("/v1/instances", "instances"), ("/v1/findings", "findings")):
        assert client.see(path, RED, project_id="blue")[noun] == []
        assert client.see(path, RED, project_id="red")[noun] != []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/instances/x",
        f"/v1/instances/{ONE}/",
        f"/v1/instances/{ONE}%00",
        "/v1/hosts/a%00b",
        "/v1/hosts/nowhere",
        f"/v1/instances/{reports.uuid_of('nobody')}",
        "/v2/instances",
        "/v1",
    ],
)
def test_what_is_not_there(client: Client, path: str) -> None:
    one = refused(client, path)
    assert (one["status"], one["code"]) == (404, "not-found")


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "PUT"])
def test_methods_that_are_not_there(client: Client, method: str) -> None:
    answer = client.simulate_request(method, "/v1/instances", headers=OPERATOR)
    assert answer.status_code == 405
    assert answer.json["errors"][0]["code"] == "method-not-allowed"
    assert "GET" in answer.headers["allow"]


def test_head_is_get_without_the_body(client: Client) -> None:
    cloud(client)
    answer = client.simulate_head("/v1/instances", headers=OPERATOR)
    assert answer.status_code == 200 and answer.text == ""


# --- findings -------------------------------------------------------------------------------


def test_a_finding_of_an_instance(client: Client) -> None:
    cloud(client)
    found = client.see("/v1/findings", RED, code="untrimmed")["findings"]
    assert len(found) == 1
    catalogue = findings.CATALOGUE["untrimmed"]
    assert found[0] == {
        "id": f"untrimmed,{ONE},agent,",
        "code": "untrimmed",
        "severity": "warning",
        "origin": "agent",
        "message": catalogue.cause,
        "action": catalogue.action,
        "since": "2026-01-02T03:04:05Z",
        "host": None,
        "instance": ONE,
        "project_id": "red",
        "disks": ["vda", "vdb"],
    }


def test_findings_of_a_host(client: Client) -> None:
    stale = findings.finding("inventory-stale", "no list in 20 s")
    ahead = service.NOW + datetime.timedelta(seconds=90)
    client.report(reports.full(reports.state(findings=(stale,)), sent_at=ahead))
    found = client.see("/v1/findings")["findings"]
    assert [(one["code"], one["origin"], one["instance"]) for one in found] == [
        ("clock-skew", "reconcile", None),
        ("inventory-stale", "agent", None),
    ]
    assert found[1]["message"] == stale.message
    assert "(90 s ahead)" in found[0]["message"]
    assert client.see("/v1/findings", RED)["findings"] == []
    shown = client.see("/v1/hosts/compute-1")
    assert [one["code"] for one in shown["findings"]] == ["inventory-stale", "clock-skew"]


@pytest.mark.parametrize("headers", [OPERATOR, RED], ids=["operator", "tenant"])
def test_findings_in_pages(client: Client, headers: dict[str, str]) -> None:
    cloud(client)
    whole = client.see("/v1/findings", headers)["findings"]
    assert len(whole) == (12 if headers is OPERATOR else 4)
    path: str | None = "/v1/findings?limit=5" if headers is OPERATOR else "/v1/findings?limit=1"
    pages: list[Any] = []
    while path is not None:
        answer = client.simulate_get(path, headers=headers).json
        pages += answer["findings"]
        links = answer["findings_links"]
        path = links[0]["href"].partition("//")[2].partition("/")[2] if links else None
        path = f"/{path}" if path else None
    assert pages == whole


@pytest.mark.parametrize("marker", ["x", "a,b,c", "untrimmed,x,agent,nowhere"])
def test_markers_that_are_none(client: Client, marker: str) -> None:
    assert refused(client, f"/v1/findings?marker={marker}")["status"] == 400


def test_findings_are_chosen(client: Client) -> None:
    cloud(client)
    for query, count in (
        ({"code": "untrimmed"}, 3),
        ({"severity": "warning"}, 6),
        ({"origin": "reconcile"}, 0),
        ({"instance": ONE}, 4),
        ({"host": "compute-1"}, 12),
        ({"host": "compute-2"}, 0),
        ({"project_id": "blue", "severity": "info"}, 2),
    ):
        assert len(client.see("/v1/findings", **query)["findings"]) == count


# --- hosts and numbers --------------------------------------------------------------------------


def test_a_host(client: Client) -> None:
    cloud(client)
    shown = client.see("/v1/hosts/compute-1")
    assert (shown["name"], shown["instances"], shown["disks"]) == ("compute-1", 3, 6)
    assert shown["host_allocated_bytes"] == 6 * reports.GIB
    assert shown["storages"][0]["path"] == "/var/lib/nova/instances"
    assert client.see("/v1/hosts")["hosts"] == [shown]


def test_hosts_in_pages(client: Client) -> None:
    for name in ("compute-1", "compute-2"):
        client.report(reports.full(reports.state(name)))
    answer = client.see("/v1/hosts", limit=1)
    assert [one["name"] for one in answer["hosts"]] == ["compute-1"]
    assert answer["hosts_links"][0]["href"].endswith("/v1/hosts?limit=1&marker=compute-1")
    answer = client.see("/v1/hosts", limit=1, marker="compute-1")
    assert [one["name"] for one in answer["hosts"]] == ["compute-2"]
    assert answer["hosts_links"] == []


def test_numbers_for_prometheus(client: Client) -> None:
    cloud(client)
    answer = client.simulate_get("/metrics", headers=OPERATOR)
    assert answer.status_code == 200
    families = prometheus_client.parser.text_string_to_metric_families(answer.text)
    numbers = {one.name: one.value for family in families for one in family.samples}
    assert numbers["nova_diskaudit_service_instances"] == 3
    assert numbers["nova_diskaudit_service_host_allocated_bytes"] == 6 * reports.GIB
    assert numbers["nova_diskaudit_service_oldest_report_age_seconds"] == 0
    assert "nova_diskaudit_service_nova_map_age_seconds" not in numbers, "unknown is absent"
    service.nova_was_complete(client.database, service.NOW - datetime.timedelta(seconds=90))
    text = client.simulate_get("/metrics", headers=OPERATOR).text
    assert "nova_diskaudit_service_nova_map_age_seconds 90.0" in text


def test_a_defect_is_told_as_one(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from nova_diskaudit.store import instance as store

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("secret")

    monkeypatch.setattr(store, "listed", broken)
    answer = client.simulate_get("/v1/instances", headers=OPERATOR)
    assert answer.status_code == 500
    assert answer.json["errors"][0]["code"] == "defect"
    assert "secret" not in answer.text

# SPDX-License-Identifier: Apache-2.0
"""PUT of a report: who may, what is refused, and what is answered."""

from __future__ import annotations

import datetime
import gzip
import io
import json
import pathlib
import tracemalloc
from typing import Any

import falcon.testing
import pytest

from nova_diskaudit import protocol
from nova_diskaudit.store.tables import enrollment, host, sighting
from tests import reports
from tests.unit.api.conftest import Client, agent, made
from tests.unit.api.service import NOW
from tests.unit.store import look

PATH = "/v1/hosts/compute-1/report"
PACKED = {"Content-Encoding": "gzip", "Content-Type": "application/json"}


def put(
    client: Client, body: bytes, headers: dict[str, str] | None = None, **words: Any
) -> falcon.testing.Result:
    plain = {"Content-Type": "application/json", **agent()}
    return client.simulate_put(PATH, body=body, headers=plain | (headers or {}), **words)


def error(answer: falcon.testing.Result) -> dict[str, Any]:
    body = json.loads(answer.text)
    assert len(body["errors"]) == 1
    one: dict[str, Any] = body["errors"][0]
    assert one["status"] == answer.status_code
    assert one["request_id"] == answer.headers["x-openstack-request-id"]
    return one


def some(*names: str, **changes: Any) -> protocol.State:
    return reports.state(instances=tuple(map(reports.instance, names)), **changes)


def test_accepted_replayed_and_chained(client: Client) -> None:
    first, second = some("one"), some("one", "two")
    for _ in range(2):
        answer = client.report(reports.full(first))
        assert (answer.status_code, answer.json) == (200, {"current": first.id})
    answer = client.report(reports.delta(first, second))
    assert (answer.status_code, answer.json) == (200, {"current": second.id})
    answer = client.report(reports.full(some("three")))
    assert answer.status_code == 409
    assert error(answer)["code"] == "report-chain"
    assert answer.json["current"] == second.id
    assert look.state(client.database, "compute-1") == second


def test_a_host_that_is_held(client: Client) -> None:
    first = some("one")
    client.report(reports.full(first, agent="a"))
    answer = client.report(reports.full(some("two"), agent="b", replaces=first.id))
    assert answer.status_code == 409
    assert error(answer)["code"] == "host-held"
    assert 0 < int(answer.headers["retry-after"]) <= 901
    assert "current" not in answer.json


def test_packed(client: Client) -> None:
    state = some("one")
    answer = put(client, gzip.compress(protocol.encode(reports.full(state))), PACKED)
    assert answer.status_code == 200
    assert look.state(client.database, "compute-1") == state


# --- who may ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers, code",
    [
        (agent("compute-2"), "not-enrolled"),
        ({**agent(), "X-Credential": ""}, "application-credential-required"),
        ({**agent(), "X-Credential": "somebody"}, "not-enrolled"),
        ({**agent(), "X-Service-Token": "nova's"}, "service-token-refused"),
        ({**agent(), "X-Service-Token": ""}, "service-token-refused"),
        ({**agent(), "X-Roles": "service,admin"}, "forbidden"),
    ],
)
def test_who_may_not_report(client: Client, headers: dict[str, str], code: str) -> None:
    answer = client.report(reports.full(some("one")), headers)
    assert answer.status_code == 403
    assert error(answer)["code"] == code
    assert look.rows(client.database, host) == []


def test_a_name_that_is_nearly_the_same_is_another_host(client: Client) -> None:
    for name in ("Compute-1", "compute-1.", "compute-10"):
        report = reports.full(reports.changed(some("one"), host=name))
        assert client.report(report, agent("compute-1")).status_code == 403
    for name in ("compute-1 ", "compute-1\t", " compute-1"):
        path = f"/v1/hosts/{name}/report"
        answer = client.simulate_put(path, body=b"{}", headers=agent("compute-1"))
        assert answer.status_code == 404
    assert look.rows(client.database, host) == []


def test_the_first_report_enrolls(tmp_path: pathlib.Path) -> None:
    client = made(tmp_path, first_report_enrolls=True)
    client.enroll("compute-9")
    first, second = some("one"), some("two")
    early = {**agent(), "X-Credential": "early"}
    late = {**agent(), "X-Credential": "late"}
    assert client.report(reports.delta(first, second), early).status_code == 409
    assert len(look.rows(client.database, enrollment)) == 1, "only a report that is taken enrolls"
    assert client.report(reports.full(first), early).status_code == 200
    assert client.report(reports.full(second, replaces=first.id), late).status_code == 403
    assert client.report(reports.full(second, replaces=first.id), early).status_code == 200
    other = reports.full(reports.state("compute-2"))
    assert client.report(other, early).status_code == 403
    claimed = reports.full(reports.state("compute-9"))
    assert client.report(claimed, late).status_code == 403
    client.database.dispose()


# --- what is no report --------------------------------------------------------------------------


def broken(**changes: Any) -> bytes:
    report = json.loads(protocol.encode(reports.full(some("one"))))
    return json.dumps(report | changes).encode()


def in_first_disk(text: str) -> bytes:
    """A report whose first disk holds ``text`` bytes."""
    whole = protocol.encode(reports.full(some("one"))).decode()
    before = f'"host_allocated_bytes":{reports.GIB}'
    assert before in whole
    return whole.replace(before, f'"host_allocated_bytes":{text}', 1).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        broken(host="compute-2"),
        broken(id="x"),
        broken(as_of="2026-01-01T00:00:00"),
        broken(as_of="yesterday"),
        broken(schema="2.0"),
        broken(gone=[reports.uuid_of("one")]),
        broken(kind="delta"),
        broken(agent="\ud800"),
        broken(findings=[{"code": "a\x00b", "severity": "info", "message": ""}]),
        broken(findings=[{"code": "ab", "severity": "info", "message": "\x00"}]),
        broken(findings=[{"code": "ab", "severity": "info", "message": "\ud800"}]),
        broken(findings=[{"code": "No Code", "severity": "info", "message": ""}]),
        broken(findings=[{"code": "ab", "severity": "bad", "message": ""}]),
        in_first_disk("NaN"),
        in_first_disk("Infinity"),
        in_first_disk("1e3"),
        in_first_disk("1.5"),
        in_first_disk("-1"),
        in_first_disk("9223372036854775808"),
        in_first_disk("1" * 10_000),
        in_first_disk('"1"'),
        in_first_disk("true"),
    ],
)
def test_a_body_that_is_no_report(client: Client, body: bytes) -> None:
    answer = put(client, body)
    assert answer.status_code == 400
    assert error(answer)["code"] == "report-invalid"
    assert len(error(answer)["detail"]) < 300
    assert look.rows(client.database, host) == []


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}")[:12],
        gzip.compress(b"{}") + b"x",
        gzip.compress(b"{}") + gzip.compress(b"{}"),
        gzip.compress(b"{}")[:-8] + b"\0" * 8,
    ],
)
def test_a_body_that_is_no_gzip(client: Client, body: bytes) -> None:
    answer = put(client, body, PACKED)
    assert answer.status_code == 400
    assert error(answer)["code"] == "bad-request"


def test_a_body_that_bursts_is_refused_in_little_memory(client: Client) -> None:
    bomb = gzip.compress(b" " * (200 * 2**20), 9)
    tracemalloc.start()
    answer = put(client, bomb, PACKED)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 413
    assert error(answer)["code"] == "too-large"
    assert peak < 3 * protocol.MAX_REPORT_BYTES


def test_a_body_that_is_too_long_is_not_read(client: Client) -> None:
    class Unread(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise AssertionError("it was read")

    length = {"Content-Length": str(100 * 2**20)}
    answer = put(client, b"", length, extras={"wsgi.input": Unread()})
    assert answer.status_code == 413


def test_an_empty_body_is_how_an_agent_asks_whether_it_may(client: Client) -> None:
    for headers, status in (({}, 400), (agent("compute-2"), 403)):
        answer = put(client, b"", {"Content-Length": "0", **headers})
        assert answer.status_code == status


def test_the_largest_body_that_is_taken(client: Client) -> None:
    data = protocol.encode(reports.full(some("one")))
    exact = data + b" " * (protocol.MAX_REPORT_BYTES - len(data))
    assert put(client, gzip.compress(exact, 1), PACKED).status_code == 200
    assert put(client, gzip.compress(exact + b" ", 1), PACKED).status_code == 413
    assert put(client, exact + b" ").status_code == 413


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "gzip, gzip"},
    ],
)
def test_a_body_of_a_kind_that_is_not_taken(client: Client, headers: dict[str, str]) -> None:
    answer = put(client, b"{}", headers)
    assert answer.status_code == 415
    assert error(answer)["code"] == "unsupported-media-type"


def test_a_body_without_its_length(client: Client) -> None:
    answer = put(client, b"", {"Transfer-Encoding": "chunked"})
    assert answer.status_code == 411
    assert error(answer)["code"] == "length-required"


def test_newer_agents_say_more(client: Client) -> None:
    """A newer minor schema has fields that are not known here."""
    body = json.loads(protocol.encode(reports.full(some("one"))))
    body["schema"] = "1.7"
    body["news"] = {"a": [1.5, 2**63 - 1]}
    body["instances"][0]["disks"][0]["more"] = None
    assert put(client, json.dumps(body).encode()).status_code == 200


def test_a_report_of_500_instances(client: Client) -> None:
    state = reports.state(instances=tuple(reports.instance(f"i{n}") for n in range(500)))
    tracemalloc.start()
    answer = put(client, gzip.compress(protocol.encode(reports.full(state))), PACKED)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 200
    assert len(look.rows(client.database, sighting)) == 500
    assert peak < 64 * 2**20


def test_times_are_the_services_own(client: Client) -> None:
    ahead = NOW + datetime.timedelta(hours=1)
    client.report(reports.full(some("one", as_of=ahead), sent_at=ahead))
    seen = client.see("/v1/hosts/compute-1")
    assert seen["as_of"] == seen["received_at"] == "2026-01-02T03:04:05Z"
    assert [one["code"] for one in seen["findings"]] == ["clock-skew"]
    assert seen["findings"][0]["origin"] == "reconcile"

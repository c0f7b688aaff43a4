# SPDX-License-Identifier: Apache-2.0
"""Two tenants, and all that one can ask to learn something of the other, or of the hosts.

An answer may hold nothing but the asker's own, and it may not depend on what is not the asker's:
questions that name something of another tenant are answered as those that name what does not
exist.
"""

from __future__ import annotations

import itertools
import random
import urllib.parse
from typing import Any

import pytest

from nova_diskaudit.api.schemas.instance import Instance
from nova_diskaudit.store import report as store_report
from tests import reports
from tests.service import wire
from tests.service.stage import HOST, OTHER_HOST, Stage

NOTHING = reports.uuid_of("nothing")
SORTS = (
    "uuid",
    "virtual_bytes",
    "host_allocated_bytes",
    "guest_used_bytes",
    "reclaimable_low_bytes",
    "reclaimable_likely_bytes",
)


def ask(stage: Stage, target: str, token: str | None = None, **query: object) -> wire.Answer:
    words = urllib.parse.urlencode({k: v for k, v in query.items() if v is not None})
    token = token or stage.people.token("reader")
    return wire.ask(stage.api.port, "GET", f"{target}?{words}" if words else target, token=token)


def uuids(answer: wire.Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [one["uuid"] for one in answer.json()["instances"]]


def pages(stage: Stage, target: str, **query: object) -> list[wire.Answer]:
    """All pages, by the links."""
    answers = [ask(stage, target, **query)]
    while links := answers[-1].json()[f"{target.rpartition('/')[2]}_links"]:
        (link,) = links
        assert link["rel"] == "next"
        path = link["href"].removeprefix(stage.api.url)
        answers.append(wire.ask(stage.api.port, "GET", path, token=stage.people.token("reader")))
        assert len(answers) < 200
    return answers


# --- instances ----------------------------------------------------------------------------------


def test_a_tenant_sees_what_nova_says_is_his(stage: Stage) -> None:
    assert uuids(ask(stage, "/v1/instances")) == list(stage.mine)
    other = stage.people.other_reader.token()
    assert uuids(ask(stage, "/v1/instances", other)) == list(stage.theirs)


def test_an_operator_sees_all_with_what_is_believed_of_each(stage: Stage) -> None:
    answer = ask(stage, "/v1/instances", stage.people.token("auditor"))
    found = {one["uuid"]: one for one in answer.json()["instances"]}
    assert set(found) >= {*stage.mine, *stage.theirs, stage.claimed}
    assert {found[uuid]["project_id"] for uuid in stage.mine} == {stage.people.project}
    assert found[stage.claimed]["project_id"] is None
    assert found[stage.claimed]["trust"] == "unverified"
    assert found[stage.claimed]["claimed_project_id"] == stage.people.project


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("direction", ["", ":asc", ":desc"])
def test_pages_of_a_tenant_in_any_order(stage: Stage, sort: str, direction: str) -> None:
    for limit in (1, 3):
        found = [
            uuid
            for page in pages(stage, "/v1/instances", sort=sort + direction, limit=limit)
            for uuid in uuids(page)
        ]
        assert sorted(found) == list(stage.mine)


def test_no_question_leads_to_another_tenant(stage: Stage) -> None:
    """A sample of all combinations, drawn by a fixed seed."""
    markers = (None, *stage.mine[:1], *stage.theirs, stage.claimed, NOTHING)
    choices: dict[str, tuple[Any, ...]] = {
        "project_id": (None, stage.people.project, stage.people.other_project, "nothing", "%", "*"),
        "finding": (None, "untrimmed", "file-missing", "two-agents-one-host", "nothing"),
        "min_reclaimable": (None, 0, 1, 2**62),
        "trust": (None, "verified", "pending", "unverified"),
        "sort": tuple(f"{key}{way}" for key in SORTS for way in ("", ":desc")),
        "limit": (None, 1, 2, 1000),
        "marker": markers,
        "fields": (None, "uuid", "uuid,host,domain,disks", "uuid,project_id,other_sightings"),
    }
    draw = random.Random(4)
    for _ in range(150):
        query = {name: draw.choice(values) for name, values in choices.items()}
        answer = ask(stage, "/v1/instances", **query)
        if answer.status == 200:
            assert set(uuids(answer)) <= set(stage.mine), query
            if query["project_id"] not in (None, stage.people.project):
                assert uuids(answer) == []
        else:
            assert answer.status == 400, query
        assert b"secret" not in answer.body, query


@pytest.mark.parametrize("sort", [f"{key}{way}" for key in SORTS for way in ("", ":desc")])
def test_a_marker_that_is_not_ones_own_tells_nothing(stage: Stage, sort: str) -> None:
    """What is not visible is answered like what does not exist."""
    if sort.startswith("uuid"):
        for marker in (*stage.theirs, stage.claimed):
            found = uuids(ask(stage, "/v1/instances", sort=sort, marker=marker))
            descending = sort.endswith("desc")
            expected = [u for u in stage.mine if (u < marker if descending else u > marker)]
            assert sorted(found) == expected
        return
    nothing = ask(stage, "/v1/instances", sort=sort, marker=NOTHING)
    for marker in (*stage.theirs, stage.claimed):
        answer = ask(stage, "/v1/instances", sort=sort, marker=marker)
        assert (
            (answer.status, answer.code) == (nothing.status, nothing.code) == (400, "bad-request")
        )


def test_an_instance_of_another_tenant_does_not_exist(stage: Stage) -> None:
    nothing = ask(stage, f"/v1/instances/{NOTHING}")
    assert (nothing.status, nothing.code) == (404, "not-found")
    for uuid in (*stage.theirs, stage.claimed):
        answer = ask(stage, f"/v1/instances/{uuid}")
        assert answer.status == 404
        assert _without_id(answer.json()) == _without_id(nothing.json())
    for uuid in stage.mine:
        assert ask(stage, f"/v1/instances/{uuid}").json()["uuid"] == uuid


def _without_id(said: Any) -> Any:
    return [
        {name: word for name, word in one.items() if name != "request_id"} for one in said["errors"]
    ]


@pytest.mark.parametrize(
    "name",
    [
        "{theirs}%00",
        "{theirs}/",
        "{THEIRS}",
        "{mine}%2F..%2F{theirs}",
        "{mine}/../{theirs}",
        "{mine},{theirs}",
        "{mine}?uuid={theirs}",
        "%7B{theirs}%7D",
        "*",
        "%25",
        "' OR '1'='1".replace(" ", "%20"),
    ],
)
def test_tricks_with_the_name_of_an_instance(stage: Stage, name: str) -> None:
    target = name.format(mine=stage.mine[0], theirs=stage.theirs[0], THEIRS=stage.theirs[0].upper())
    answer = ask(stage, f"/v1/instances/{target}")
    assert answer.status in (400, 404)
    assert b"disks" not in answer.body


def test_nothing_of_the_host_is_told(stage: Stage) -> None:
    """All that the host alone knows of itself has "secret" in it here."""
    operator = stage.people.token("admin")
    for target in ("/v1/instances", f"/v1/instances/{stage.mine[0]}", "/v1/findings"):
        assert b"secret" not in ask(stage, target).body
        assert b"secret" in ask(stage, target, operator).body
    for page in itertools.chain(
        pages(stage, "/v1/instances", limit=1), pages(stage, "/v1/findings", limit=1)
    ):
        assert b"secret" not in page.body


def test_every_field_can_be_asked_for_and_none_leads_further(stage: Stage) -> None:
    for field in Instance.__struct_fields__:
        answer = ask(stage, "/v1/instances", fields=field)
        assert answer.status == 200
        assert b"secret" not in answer.body
        for one in answer.json()["instances"]:
            assert set(one) <= {field}
    assert ask(stage, "/v1/instances", fields="body").status == 400


def test_only_operators_may_ask_by_host(stage: Stage) -> None:
    for target in ("/v1/instances", "/v1/findings"):
        answers = [ask(stage, target, host=host) for host in (HOST, OTHER_HOST, "no-such-host")]
        assert {(one.status, one.code) for one in answers} == {(403, "forbidden")}
        assert ask(stage, target, stage.people.token("auditor"), host=HOST).status == 200


# --- findings -----------------------------------------------------------------------------------


def test_findings_of_a_tenant(stage: Stage) -> None:
    found = ask(stage, "/v1/findings").json()["findings"]
    assert {one["instance"] for one in found} == set(stage.mine)
    assert {one["host"] for one in found} == {None}
    assert {one["code"] for one in found} == {"untrimmed", "file-missing"}


def test_no_question_leads_to_findings_of_another(stage: Stage) -> None:
    draw = random.Random(5)
    theirs = ask(stage, "/v1/findings", stage.people.other_reader.token()).json()["findings"]
    operators = ask(stage, "/v1/findings", stage.people.token("admin")).json()["findings"]
    mine = ask(stage, "/v1/findings").json()["findings"]
    markers = [one["id"] for one in (*mine, *theirs, *operators)]
    choices: dict[str, tuple[Any, ...]] = {
        "project_id": (None, stage.people.project, stage.people.other_project),
        "instance": (None, *stage.mine, *stage.theirs, stage.claimed, NOTHING),
        "code": (None, "untrimmed", "storage-unresponsive", "nothing"),
        "severity": (None, "info", "warning", "error"),
        "origin": (None, "agent", "reconcile"),
        "limit": (None, 1, 100),
        "marker": (None, *markers),
    }
    for _ in range(150):
        query = {name: draw.choice(values) for name, values in choices.items()}
        answer = ask(stage, "/v1/findings", **query)
        assert answer.status in (200, 400), query
        assert b"secret" not in answer.body, query
        if answer.status == 200:
            for one in answer.json()["findings"]:
                assert one["instance"] in stage.mine
                assert one["host"] is None


def test_a_marker_does_not_tell_where_an_instance_runs(stage: Stage) -> None:
    """A tenant puts host names into a marker and compares the answers."""
    ids = [one["id"] for one in ask(stage, "/v1/findings").json()["findings"]]
    for id in ids:
        told = {
            (answer.status, answer.body if answer.status == 200 else answer.code)
            for host in (HOST, OTHER_HOST, "no-such-host")
            for answer in [ask(stage, "/v1/findings", marker=f"{id}{host}")]
        }
        assert len(told) == 1, id


# --- usages -------------------------------------------------------------------------------------


def test_what_a_tenant_holds_is_what_nova_says_is_his(stage: Stage) -> None:
    """The instance that a host claims for him is not in it, nor is anything of the other's."""
    held = {stage.mine: 1 + 2 + 1 + 2, stage.theirs: 3 + 3}
    tokens = {stage.mine: None, stage.theirs: stage.people.other_reader.token()}
    for uuids_of, gib in held.items():
        answer = ask(stage, "/v1/usages", tokens[uuids_of])
        (usage,) = answer.json()["usages"]
        assert usage["totals"]["host_allocated_bytes"] == gib * reports.GIB
        assert usage["coverage"]["instances"] == len(uuids_of)
        assert b"secret" not in answer.body


def test_an_operator_sees_what_all_hold(stage: Stage) -> None:
    usages = ask(stage, "/v1/usages", stage.people.token("auditor")).json()["usages"]
    projects = {stage.people.project, stage.people.other_project}
    assert {one["project_id"] for one in usages} == projects


def test_no_question_leads_to_what_another_holds(stage: Stage) -> None:
    draw = random.Random(6)
    own, other = stage.people.project, stage.people.other_project
    choices: dict[str, tuple[Any, ...]] = {
        "project_id": (None, None, own, other, "nothing", "%", "*", f"{own} OR 1=1"),
        "limit": (None, 1, 1000),
        "marker": (None, None, own, other, "0", "~"),
    }
    for _ in range(80):
        query = {name: draw.choice(values) for name, values in choices.items()}
        answer = ask(stage, "/v1/usages", **query)
        assert answer.status == 200, query
        assert other.encode() not in answer.body.replace(b"marker=" + other.encode(), b"")
        projects = [one["project_id"] for one in answer.json()["usages"]]
        wanted = query["project_id"] in (None, own) and (query["marker"] or "") < own
        assert projects == ([own] if wanted else []), query


def test_no_question_leads_to_the_past_of_another(stage: Stage) -> None:
    draw = random.Random(7)
    own, other = stage.people.project, stage.people.other_project
    choices: dict[str, tuple[Any, ...]] = {
        "project_id": (None, own, other, "nothing"),
        "instance": (None, *stage.mine[:2], *stage.theirs, stage.claimed, NOTHING),
        "start": (None, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        "end": (None, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        "marker": (None, "2026-01-01T00:00:00Z"),
        "limit": (None, 1),
    }
    nothing = ask(stage, "/v1/usages/history", instance=NOTHING)
    assert nothing.json() == {"interval": "day", "history": [], "history_links": []}
    seen = 0
    for _ in range(150):
        query = {name: draw.choice(values) for name, values in choices.items()}
        answer = ask(stage, "/v1/usages/history", **query)
        assert answer.status == 200, query
        is_own = query["project_id"] in (None, own) and query["instance"] in (None, *stage.mine)
        seen += len(answer.json()["history"])
        if not is_own:
            assert answer.json()["history"] == [], query
    assert seen > 0
    for uuid in (*stage.theirs, stage.claimed):
        assert ask(stage, "/v1/usages/history", instance=uuid).body == nothing.body
    for uuid in stage.mine:
        assert len(ask(stage, "/v1/usages/history", instance=uuid).json()["history"]) == 1


# --- what moves ---------------------------------------------------------------------------------


def test_a_host_cannot_give_itself_an_instance_of_a_tenant(stage: Stage) -> None:
    """A compromised node reports a tenant's instance that runs elsewhere: nobody is deceived."""
    victim = stage.mine[0]
    before = ask(stage, f"/v1/instances/{victim}")
    held = ask(stage, "/v1/usages").json()["usages"][0]
    lie = reports.instance(victim, disks=(reports.disk(host_allocated_bytes=1),), domain="liar")
    state = reports.state("liar", (lie,))
    store_report.put(stage.engine, reports.full(state), now=reports.NOW, takeover_after_seconds=900)
    try:
        after = ask(stage, f"/v1/instances/{victim}")
        assert after.body == before.body
        still = ask(stage, "/v1/usages").json()["usages"][0]
        assert {**still, "computed_at": held["computed_at"]} == held
        told = ask(stage, f"/v1/instances/{victim}", stage.people.token("admin")).json()
        assert [(o["host"], o["trust"]) for o in told["other_sightings"]] == [
            ("liar", "unverified")
        ]
    finally:
        gone = reports.full(reports.state("liar"), replaces=state.id)
        store_report.put(stage.engine, gone, now=reports.NOW, takeover_after_seconds=900)

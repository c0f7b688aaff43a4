# SPDX-License-Identifier: Apache-2.0
"""Real agents and the real service: enrollment by Keystone, two of one name, late duplicates."""

from __future__ import annotations

import datetime
import pathlib
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from nova_diskaudit import protocol
from nova_diskaudit.store import enrollment
from tests import reports
from tests.service import faults, wire
from tests.service.agents import Agent
from tests.service.people import AGENT_ROLE
from tests.service.stage import Stage
from tests.services.api import Api
from tests.unit.store import look

TAKEOVER_SECONDS = 3


# --- by Keystone ----------------------------------------------------------------------------------


def test_an_agent_from_its_enrollment_to_its_end(stage: Stage, tmp_path: pathlib.Path) -> None:
    """As its documentation tells the operator: a credential with a rule, enrolled, then reports."""
    host = "compute-7.example"
    people = stage.people
    credential = people.credential_for(("PUT", f"/v1/hosts/{host}/report"))
    options = {
        "auth_type": "v3applicationcredential",
        "auth_url": people.cloud.url,
        "application_credential_id": credential.id,
        "application_credential_secret": credential.secret,
        "valid_interfaces": "public",
    }
    agent = Agent(host, tmp_path, options, random.Random(1))
    agent.look()
    assert not agent.send(), "it is not enrolled yet"
    problem = agent.publisher.status().problem
    assert problem is not None and problem.startswith("403")
    enrollment.enroll(stage.engine, credential.id, host, at=0)
    assert [step for step in agent.transport.check(host) if step[1] is not None] == []
    for _ in range(3):
        agent.look()
        assert agent.send()
        assert look.state(stage.engine, host) == agent.newest
    people.cloud.delete_credential(credential)
    agent.look()
    assert not agent.send()
    problem = agent.publisher.status().problem
    assert problem is not None and "Application Credential" in problem  # Keystone says so
    assert agent.spool.status().depth == 1
    # A new credential, the same spool: nothing was lost.
    new = people.cloud.application_credential(people.agent_user, AGENT_ROLE)
    enrollment.enroll(stage.engine, new.id, host, at=0)
    agent.spool.close()
    again = Agent(
        host,
        tmp_path,
        options
        | {"application_credential_id": new.id, "application_credential_secret": new.secret},
        random.Random(2),
    )
    assert again.send()
    assert look.state(stage.engine, host) == agent.newest
    again.close()


# --- without Keystone ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api(url: str) -> Iterator[Api]:
    settings = {
        "api": {"auth_strategy": "noauth", "takeover_after": TAKEOVER_SECONDS},
        "database": {"connection": url},
    }
    with Api(settings) as some:
        yield some


@pytest.fixture
def options(api: Api) -> dict[str, object]:
    return {"auth_type": "none", "endpoint_override": api.url}


def host_of(api: Api, name: str) -> Any:
    answer = wire.ask(api.port, "GET", f"/v1/hosts/{name}")
    assert answer.status == 200
    return answer.json()


def codes(api: Api, name: str) -> set[str]:
    return {finding["code"] for finding in host_of(api, name)["findings"]}


def test_two_agents_with_one_name(
    api: Api, engine: sa.Engine, options: dict[str, object], tmp_path: pathlib.Path
) -> None:
    """A host was cloned: the first holds the name, the second waits and loses nothing."""
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first = Agent("twin", tmp_path / "first", options, random.Random(1))
    second = Agent("twin", tmp_path / "second", options, random.Random(2))
    first.look()
    assert first.send()
    second.look()
    begun = time.monotonic()
    assert second.publisher.step() is not None
    problem = second.publisher.status().problem
    assert problem is not None and problem.startswith("409")
    assert second.spool.status().depth == 1
    assert look.state(engine, "twin") == first.newest
    # The next report of the first one tells of it.
    first.look()
    assert first.send()
    assert "two-agents-one-host" in codes(api, "twin")
    # The first falls silent.
    while not second.send():
        assert time.monotonic() - begun < 60
        time.sleep(0.2)
    assert look.state(engine, "twin") == second.newest
    # And comes back: it is told to wait in turn, and nothing of the other's is mixed with its own.
    first.look()
    assert first.publisher.step() is not None
    assert look.state(engine, "twin") == second.newest
    while not first.send():
        assert time.monotonic() - begun < 60
        time.sleep(0.2)
    assert look.state(engine, "twin") == first.newest
    first.close()
    second.close()


def test_what_comes_late_comes_twice_or_in_another_order(
    api: Api, engine: sa.Engine, options: dict[str, object], tmp_path: pathlib.Path
) -> None:
    """All requests of an agent's life, again and again in any order: nothing changes."""
    agent = Agent("late", tmp_path, options, random.Random(3))
    sent: list[protocol.Report] = []
    send = agent.transport.send
    agent.transport.send = lambda report: (sent.append(report), send(report))[1]  # type: ignore[method-assign]
    for _ in range(8):
        agent.look()
        assert agent.send()
    before = faults.content(engine)
    assert look.state(engine, "late") == agent.newest
    draw = random.Random(4)
    seen = set()
    for report in draw.choices(sent, k=60):
        answer = wire.put(api.port, "/v1/hosts/late/report", report)
        assert answer.status in (200, 409)
        is_current = agent.newest is not None and report.id == agent.newest.id
        assert (answer.status == 200) == is_current
        if answer.status == 409:
            assert answer.code == "report-chain"
            assert agent.newest is not None and answer.json()["current"] == agent.newest.id
        seen.add(answer.status)
    assert seen == {200, 409}
    assert faults.content(engine) == before
    agent.close()


@pytest.mark.parametrize("hours", [-24 * 400, -2, 2, 24 * 400])
def test_a_clock_that_is_wrong(api: Api, engine: sa.Engine, hours: int) -> None:
    """It orders nothing, is stored as no later than now, and is told."""
    name = f"clock{hours}"
    now = datetime.datetime.now(datetime.UTC)
    wrong = now + datetime.timedelta(hours=hours)
    states = [
        reports.state(name, (reports.instance(f"{name}-{number}"),), as_of=wrong)
        for number in range(2)
    ]
    replaces = None
    for state in states:
        report = reports.full(state, replaces=replaces, sent_at=wrong)
        assert wire.put(api.port, f"/v1/hosts/{name}/report", report).status == 200
        replaces = state.id
    host = host_of(api, name)
    assert "clock-skew" in codes(api, name)
    assert host["report_id"] == states[-1].id
    as_of = datetime.datetime.fromisoformat(host["as_of"])
    assert as_of <= datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
    # The clock is put right.
    right = reports.state(name, states[-1].instances, as_of=now)
    report = reports.full(right, replaces=replaces, sent_at=datetime.datetime.now(datetime.UTC))
    assert wire.put(api.port, f"/v1/hosts/{name}/report", report).status == 200
    assert "clock-skew" not in codes(api, name)

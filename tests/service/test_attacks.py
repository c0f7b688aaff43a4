# SPDX-License-Identifier: Apache-2.0
"""An agent that wants to speak for another host, and everybody who wants to be somebody else.

A refused report must leave no trace: the store is compared before and after.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator

import pytest

from nova_diskaudit import protocol
from nova_diskaudit.store import enrollment
from tests.service import faults, wire
from tests.service.people import AGENT_ROLE, SERVICE_TYPE
from tests.service.stage import HOST, OTHER_HOST, Stage


@pytest.fixture
def untouched(stage: Stage) -> Iterator[None]:
    """Nothing may be written by the test."""
    before = faults.content(stage.engine)
    yield
    assert faults.content(stage.engine) == before


def put(
    stage: Stage,
    host: str,
    token: str | None,
    *,
    target: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> wire.Answer:
    """A report of ``host`` that would be taken from who may send it."""
    target = target if target is not None else f"/v1/hosts/{host}/report"
    return wire.put(stage.api.port, target, stage.report(host), token=token, headers=headers)


def refused(answer: wire.Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code) == (status, code)


# --- an agent -----------------------------------------------------------------------------------


def test_an_agent_reports_for_its_host(stage: Stage) -> None:
    report = stage.report(HOST)
    answer = wire.put(
        stage.api.port, f"/v1/hosts/{HOST}/report", report, token=stage.people.agent.token()
    )
    assert (answer.status, answer.json()) == (200, {"current": report.id})


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("host", [OTHER_HOST, "unheard-of", HOST.upper(), f"{HOST} ", f"{HOST}."])
def test_an_agent_speaks_for_another_host(stage: Stage, host: str) -> None:
    answer = put(stage, host, stage.people.agent.token(), target=f"/v1/hosts/{host.strip()}/report")
    if host.strip() == HOST:
        refused(answer, 400, "report-invalid")
    else:
        refused(answer, 403, "not-enrolled")


@pytest.mark.usefixtures("untouched")
def test_an_agent_names_another_host_in_the_body(stage: Stage) -> None:
    token = stage.people.agent.token()
    answer = put(stage, OTHER_HOST, token, target=f"/v1/hosts/{HOST}/report")
    refused(answer, 400, "report-invalid")


@pytest.mark.usefixtures("untouched")
def test_access_rules_bind_before_the_service_looks(stage: Stage) -> None:
    """The second line: a credential whose rule is for one host, though enrolled for another."""
    bound = stage.people.credential_for(("PUT", f"/v1/hosts/{HOST}/report"))
    enrollment.enroll(stage.engine, bound.id, OTHER_HOST, at=0)
    try:
        refused(put(stage, OTHER_HOST, bound.token()), 401, "unauthorized")
        refused(put(stage, HOST, bound.token()), 403, "not-enrolled")
    finally:
        enrollment.revoke(stage.engine, OTHER_HOST, bound.id)


@pytest.mark.usefixtures("untouched")
def test_a_dot_in_an_access_rule_is_any_character(stage: Stage) -> None:
    """keystonemiddleware reads a rule's path as a pattern; the enrollment is exact."""
    dotted = stage.people.credential_for(("PUT", "/v1/hosts/secret.host/report"))
    enrollment.enroll(stage.engine, dotted.id, "secret.host", at=0)
    try:
        # Let through by the rule ...
        refused(put(stage, HOST, dotted.token()), 403, "not-enrolled")
        # ... and this one is not.
        refused(put(stage, OTHER_HOST, dotted.token()), 401, "unauthorized")
    finally:
        enrollment.revoke(stage.engine, "secret.host", dotted.id)


@pytest.mark.usefixtures("untouched")
def test_a_service_token_beside_an_agents_token_is_refused(stage: Stage) -> None:
    """Nova's lies on every compute node, and keystonemiddleware lifts access rules for it."""
    bound = stage.people.credential_for(("GET", "/v1/nothing"))
    enrollment.enroll(stage.engine, bound.id, HOST, at=0)
    nova = stage.people.service_user.token()
    try:
        refused(put(stage, HOST, bound.token()), 401, "unauthorized")
        for name in ("X-Service-Token", "x-service-token", "X_Service_Token", "X-SERVICE_TOKEN"):
            answer = put(stage, HOST, bound.token(), headers=((name, nova),))
            refused(answer, 403, "service-token-refused")
        for worthless in ("", "rubbish", stage.people.reader.token()):
            answer = put(stage, HOST, bound.token(), headers=(("X-Service-Token", worthless),))
            assert answer.status in (401, 403)
    finally:
        enrollment.revoke(stage.engine, HOST, bound.id)


@pytest.mark.usefixtures("untouched")
def test_a_service_token_alone_or_instead_of_an_agents(stage: Stage) -> None:
    nova = stage.people.service_user.token()
    refused(put(stage, HOST, nova), 403, "forbidden")
    refused(put(stage, HOST, None, headers=(("X-Service-Token", nova),)), 401, "unauthorized")
    refused(put(stage, HOST, nova, headers=(("X-Service-Token", nova),)), 403, "forbidden")


@pytest.mark.usefixtures("untouched")
def test_an_agents_user_makes_a_credential_of_its_own(stage: Stage) -> None:
    """Its password is no agent, and a credential that it makes is not enrolled."""
    made = stage.people.cloud.application_credential(stage.people.agent_user, AGENT_ROLE)
    refused(put(stage, HOST, made.token()), 403, "not-enrolled")
    password = stage.people.agent_user.token()
    refused(put(stage, HOST, password), 403, "application-credential-required")


@pytest.mark.usefixtures("untouched")
def test_an_agents_token_cannot_be_turned_into_another(stage: Stage) -> None:
    """Keystone gives nothing wider for the token of an application credential."""
    token = stage.people.agent.token()
    asked = stage.people.cloud.session.post(
        f"{stage.people.cloud.url}/auth/tokens",
        json={
            "auth": {
                "identity": {"methods": ["token"], "token": {"id": token}},
                "scope": {"project": {"id": stage.people.services}},
            }
        },
        authenticated=False,
        raise_exc=False,
    )
    if asked.status_code == 201:
        refused(put(stage, HOST, asked.headers["X-Subject-Token"]), 403, "forbidden")
    else:
        assert asked.status_code in (401, 403)


@pytest.mark.usefixtures("untouched")
def test_an_agent_reads_nothing(stage: Stage) -> None:
    token = stage.people.agent.token()
    for target in ("/v1/hosts", f"/v1/hosts/{HOST}", "/v1/instances", "/v1/findings", "/metrics"):
        answer = wire.ask(stage.api.port, "GET", target, token=token)
        refused(answer, 403, "forbidden")


def test_an_enrollment_ends_at_once(stage: Stage) -> None:
    credential = stage.people.cloud.application_credential(stage.people.agent_user, AGENT_ROLE)
    token = credential.token()
    enrollment.enroll(stage.engine, credential.id, HOST, at=0)
    assert put(stage, HOST, token).status == 200
    assert enrollment.revoke(stage.engine, HOST, credential.id) == 1
    refused(put(stage, HOST, token), 403, "not-enrolled")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "target",
    [
        f"/v1/hosts/{HOST}/../{OTHER_HOST}/report",
        f"/v1/hosts/{HOST}%2F..%2F{OTHER_HOST}/report",
        f"/v1/hosts/{HOST}%2f%2e%2e%2f{OTHER_HOST}/report",
        f"/v1/hosts/{OTHER_HOST}/report/",
        f"/v1/hosts/{OTHER_HOST}//report",
        f"/v1//hosts/{OTHER_HOST}/report",
        f"//v1/hosts/{OTHER_HOST}/report",
        f"/V1/hosts/{OTHER_HOST}/report",
        f"/v1/hosts/{OTHER_HOST}/REPORT",
        f"/v1/hosts/{OTHER_HOST};x={HOST}/report",
        f"/v1/hosts/{OTHER_HOST}%00{HOST}/report",
        f"/v1/hosts/{OTHER_HOST}%0a/report",
        f"/v1/hosts/{OTHER_HOST}%20/report",
        f"/v1/hosts/{OTHER_HOST}/report?host={HOST}",
        f"/v1/hosts/{OTHER_HOST}/report%3F",
        f"/v1/hosts/%6f{OTHER_HOST[1:]}/report",
        f"/v1/hosts/%256f{OTHER_HOST[1:]}/report",
        f"/v1/hosts/{OTHER_HOST}/report#/v1/hosts/{HOST}/report",
        f"http://127.0.0.1/v1/hosts/{OTHER_HOST}/report",
        f"/v1/hosts/\\{OTHER_HOST}/report",
        f"/v1/hosts/{'x' * 5000}/report",
    ],
)
def test_tricks_with_the_path(stage: Stage, target: str) -> None:
    """By a credential that is enrolled for one host, with the access rule for it and without."""
    bound = stage.people.credential_for(("PUT", f"/v1/hosts/{HOST}/report"))
    for token in (bound.token(), stage.people.agent.token()):
        answer = put(stage, OTHER_HOST, token, target=target)
        assert 400 <= answer.status < 500, answer.body


@pytest.mark.usefixtures("untouched")
def test_another_method_by_a_header(stage: Stage) -> None:
    for name in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
        token = stage.people.reader.token()
        answer = wire.ask(
            stage.api.port,
            "GET",
            f"/v1/hosts/{HOST}/report",
            token=token,
            headers=((name, "PUT"),),
            body=protocol.encode(stage.report(HOST)),
        )
        assert answer.status in (403, 405)


# --- tokens -------------------------------------------------------------------------------------


def test_a_token_that_was_revoked(stage: Stage) -> None:
    person = stage.people.tenant(stage.people.project)
    token = person.token()
    assert ask(stage, token).status == 200
    stage.people.cloud.revoke_token(token)
    refused(ask(stage, token), 401, "unauthorized")


def test_a_user_who_was_disabled(stage: Stage) -> None:
    person = stage.people.tenant(stage.people.project)
    token = person.token()
    assert ask(stage, token).status == 200
    stage.people.cloud.set_enabled("user", person.id, False)
    refused(ask(stage, token), 401, "unauthorized")


def test_a_user_who_lost_the_role(stage: Stage) -> None:
    person = stage.people.tenant(stage.people.project)
    token = person.token()
    assert ask(stage, token).status == 200
    stage.people.cloud.revoke(person, stage.people.project, "reader")
    refused(ask(stage, token), 401, "unauthorized")


def test_a_project_that_was_disabled(stage: Stage) -> None:
    project = stage.people.cloud.project("gone")
    token = stage.people.tenant(project).token()
    assert ask(stage, token).status == 200
    stage.people.cloud.set_enabled("project", project, False)
    refused(ask(stage, token), 401, "unauthorized")


def test_a_credential_that_was_deleted(stage: Stage) -> None:
    credential = stage.people.cloud.application_credential(stage.people.agent_user, AGENT_ROLE)
    token = credential.token()
    refused(put(stage, HOST, token), 403, "not-enrolled")
    stage.people.cloud.delete_credential(credential)
    refused(put(stage, HOST, token), 401, "unauthorized")


def test_a_token_that_has_expired(stage: Stage) -> None:
    """The token of a credential that expires lives no longer than that."""
    person = stage.people.tenant(stage.people.project)
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=4)
    token = stage.people.cloud.application_credential(person, expires_at=soon).token()
    assert ask(stage, token).status == 200
    time.sleep(max(0.0, (soon - datetime.datetime.now(datetime.UTC)).total_seconds()) + 1)
    refused(ask(stage, token), 401, "unauthorized")


@pytest.mark.parametrize("change", ["cut", "turned", "longer", "spaces", "two", "lower"])
def test_a_token_that_was_tampered_with(stage: Stage, change: str) -> None:
    token = stage.people.reader.token()
    middle = len(token) // 2
    other = "A" if token[middle] != "A" else "B"
    changed = {
        "cut": token[:-5],
        "turned": token[:middle] + other + token[middle + 1 :],
        "longer": token + "AAAA",
        "spaces": token[:middle] + " " + token[middle:],
        "two": f"{token},{token}",
        "lower": token.lower(),
    }[change]
    refused(ask(stage, changed), 401, "unauthorized")


def test_a_token_for_another_service_by_its_access_rules(stage: Stage) -> None:
    person = stage.people.tenant(stage.people.project)
    cloud = stage.people.cloud
    for service, path, status in (
        (SERVICE_TYPE, "/v1/instances", 200),
        ("compute", "/v1/instances", 401),
        (SERVICE_TYPE, "/v1/findings", 401),
        (SERVICE_TYPE, "/**", 200),
    ):
        token = cloud.application_credential(person, access_rules=[(service, "GET", path)]).token()
        assert ask(stage, token).status == status


def ask(stage: Stage, token: str) -> wire.Answer:
    return wire.ask(stage.api.port, "GET", "/v1/instances", token=token)


# --- headers ------------------------------------------------------------------------------------

SPOOFED = (
    ("X-Identity-Status", "Confirmed"),
    ("X-Service-Identity-Status", "Confirmed"),
    ("X-Roles", "admin,diskaudit_agent,diskaudit_auditor,reader"),
    ("X-Role", "admin"),
    ("X-User-Id", "admin"),
    ("X-User", "admin"),
    ("X-Project-Id", "{other}"),
    ("X-Tenant-Id", "{other}"),
    ("X-Tenant", "{other}"),
    ("X-Domain-Id", "default"),
    ("X-Is-Admin-Project", "True"),
    ("OpenStack-System-Scope", "all"),
    ("X-Service-Roles", "service"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;host=evil.example"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Prefix", "/v1/hosts"),
    ("X-Original-URL", "/v1/hosts"),
    ("X-Rewrite-URL", "/v1/hosts"),
    ("X-Openstack-Request-Id", "req-00000000-0000-0000-0000-000000000000"),
)


@pytest.mark.parametrize("underscores", [False, True])
def test_who_one_is_cannot_be_said_by_headers(stage: Stage, underscores: bool) -> None:
    headers = tuple(
        (
            name.replace("-", "_") if underscores else name,
            value.format(other=stage.people.other_project),
        )
        for name, value in SPOOFED
    )
    port = stage.api.port
    for target in ("/v1/instances", "/v1/hosts", "/v1/findings", "/metrics"):
        refused(wire.ask(port, "GET", target, headers=headers), 401, "unauthorized")
    refused(put(stage, HOST, None, headers=headers), 401, "unauthorized")
    token = stage.people.reader.token()
    honest = wire.ask(port, "GET", "/v1/instances", token=token)
    spoofed = wire.ask(port, "GET", "/v1/instances", token=token, headers=headers)
    assert (spoofed.status, spoofed.body) == (200, honest.body)
    for target in ("/v1/hosts", "/metrics"):
        refused(wire.ask(port, "GET", target, token=token, headers=headers), 403, "forbidden")
    refused(put(stage, HOST, token, headers=headers), 403, "forbidden")


def test_two_tokens_at_once(stage: Stage) -> None:
    """Whichever counts, it is one that the sender has; and never both together."""
    reader, stranger = stage.people.reader.token(), stage.people.token("stranger")
    assert stranger is not None
    for first, second in ((reader, stranger), (stranger, reader)):
        answer = wire.ask(
            stage.api.port,
            "GET",
            "/v1/hosts",
            headers=(("X-Auth-Token", first), ("X-Auth-Token", second)),
        )
        assert answer.status in (400, 401, 403)


@pytest.mark.parametrize("size", [60_000, 200_000, 2_000_000])
def test_huge_headers(stage: Stage, size: int) -> None:
    for headers in (
        (("X-Auth-Token", "a" * size),),
        (("X-Whatever", "a" * size),),
        tuple((f"X-{number}", "a" * 100) for number in range(size // 100)),
    ):
        try:
            answer = wire.ask(stage.api.port, "GET", "/v1/instances", headers=headers)
        except (ConnectionError, IndexError):
            continue  # hung up on
        assert 400 <= answer.status < 500
    assert wire.ask(stage.api.port, "GET", "/").status == 200


def test_the_host_header_is_not_believed(stage: Stage) -> None:
    """It may only come back to who sent it, in a link of the answer to the same request."""
    token = stage.people.token("admin")
    for name in ("Host", "X-Forwarded-Host"):
        answer = wire.ask(
            stage.api.port,
            "GET",
            "/v1/instances?limit=1",
            token=token,
            headers=((name, "evil.example"),),
        )
        assert answer.status in (200, 400)
        if name != "Host":
            assert b"evil" not in answer.body
    honest = wire.ask(stage.api.port, "GET", "/v1/instances?limit=1", token=token)
    assert b"evil" not in honest.body

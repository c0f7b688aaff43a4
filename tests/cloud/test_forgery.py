# SPDX-License-Identifier: Apache-2.0
"""A compute node that was taken over, with its agent's credential, says what is not so."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator

import pytest

from nova_diskaudit import protocol
from nova_diskaudit.sdk._proxy import DiskAuditProxy
from tests import reports
from tests.cloud import seen, truth
from tests.cloud.product import AGENT_ROLE, Product
from tests.cloud.tenants import Server, Tenant
from tests.service import wire

TAKEN, OTHER = "compute-1", "compute-2"


def _path(host: str) -> str:
    return f"/v1/hosts/{host}/report"


def _forged(auditor: DiskAuditProxy, host: str, *instances: protocol.Instance) -> protocol.Report:
    """A report that continues the chain of the host's real agent."""
    row = auditor.get_host(host)
    now = datetime.datetime.now(datetime.UTC)
    state = reports.state(host, instances, storages=(), as_of=now)
    return protocol.full(state, agent=row.agent, replaces=row.report_id, sent_at=now)


@contextlib.contextmanager
def _silenced(product: Product, host: str) -> Iterator[None]:
    """Without the host's real agent, as whoever took the host over would have it."""
    product.agents[host].terminate()
    try:
        yield
    finally:
        product.agents[host].resume()


def test_a_host_cannot_speak_for_another(
    product: Product, auditor: DiskAuditProxy, servers: dict[str, Server]
) -> None:
    """The access rule of its credential is for its own host."""
    token = product.credentials[TAKEN].token()
    forged = _forged(auditor, OTHER)
    answer = wire.put(product.api.port, _path(OTHER), forged, token=token)
    assert answer.status == 401
    assert auditor.get_instance(servers["shop"].id).host == OTHER


def test_a_credential_without_rules_is_no_better(
    product: Product, auditor: DiskAuditProxy, servers: dict[str, Server]
) -> None:
    """It is enrolled for nothing, or for one host alone."""
    directory = product.cloud.directory
    free = directory.application_credential(product.agent_user, AGENT_ROLE)
    forged = _forged(auditor, OTHER)
    answer = wire.put(product.api.port, _path(OTHER), forged, token=free.token())
    assert (answer.status, answer.code) == (403, "not-enrolled")
    product.manage("host", "enroll", TAKEN, free.id)
    answer = wire.put(product.api.port, _path(OTHER), forged, token=free.token())
    assert (answer.status, answer.code) == (403, "not-enrolled")
    product.manage("host", "revoke", TAKEN, free.id)


@pytest.mark.parametrize("who", ["member", "reader"])
def test_a_tenant_cannot_report(
    product: Product, auditor: DiskAuditProxy, acme: Tenant, who: str
) -> None:
    token = getattr(acme, who).token()
    answer = wire.put(product.api.port, _path(TAKEN), _forged(auditor, TAKEN), token=token)
    assert answer.status == 403


def test_novas_own_token_cannot_report(product: Product, auditor: DiskAuditProxy) -> None:
    """It lies on every compute node, and lifts access rules where it is sent beside another."""
    forged = _forged(auditor, OTHER)
    nova = product.cloud.directory.user("nova-again", product.cloud.services_project, "service")
    answer = wire.put(product.api.port, _path(OTHER), forged, token=nova.token())
    assert answer.status == 403
    beside = [("X-Service-Token", nova.token())]
    token = product.credentials[TAKEN].token()
    answer = wire.put(product.api.port, _path(OTHER), forged, token=token, headers=beside)
    assert answer.status == 403


def test_what_a_host_says_of_anothers_servers_is_nobodys(
    product: Product,
    auditor: DiskAuditProxy,
    servers: dict[str, Server],
    acme: Tenant,
    globex: Tenant,
) -> None:
    """compute-1 says that it has globex' server of compute-2, and one of acme's that is not."""
    victim, invented = servers["shop"], reports.uuid_of("invented")
    lies = (
        reports.instance(victim.id, project_id=acme.project),
        reports.instance(invented, project_id=acme.project),
    )
    theirs, mine = product.disk_audit(globex.reader), product.disk_audit(acme.reader)
    truly = theirs.get_instance(victim.id).totals["host_allocated_bytes"]
    with _silenced(product, TAKEN):
        token = product.credentials[TAKEN].token()
        forged = _forged(auditor, TAKEN, *lies)
        answer = wire.put(product.api.port, _path(TAKEN), forged, token=token)
        assert answer.status == 200, answer.body

        def unverified() -> None:
            (lie,) = auditor.get_instance(victim.id).other_sightings
            assert (lie["host"], lie["trust"]) == (TAKEN, "unverified")
            assert auditor.get_instance(invented).trust == "unverified"

        # At first, Nova may only not have been heard yet.
        truth.in_time(unverified)
        found = auditor.get_instance(victim.id)
        assert (found.host, found.trust) == (OTHER, "verified")
        assert found.project_id == globex.project
        for reader in (mine, theirs):
            assert seen.find(reader, invented) is None
        assert seen.find(mine, victim.id) is None
        # The owner's number is what compute-2 says. The guest writes nothing now.
        assert theirs.get_instance(victim.id).totals["host_allocated_bytes"] == truly
        (usage,) = mine.usages()
        assert all(one["code"] != "unverified" for one in usage.coverage["reasons"])

    def healed() -> None:
        assert seen.find(auditor, invented) is None
        assert auditor.get_instance(victim.id).other_sightings == []
        assert auditor.get_instance(servers["web"].id).trust == "verified"

    # The real agent comes back, is told that its chain is broken, and says all that it knows.
    truth.in_time(healed)

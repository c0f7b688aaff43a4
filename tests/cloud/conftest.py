# SPDX-License-Identifier: Apache-2.0
"""One cloud, two tenants with two servers each, and the product: for all tests of a session."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from nova_diskaudit.sdk._proxy import DiskAuditProxy
from tests.cloud import tenants, truth
from tests.cloud.cloud import Cloud
from tests.cloud.product import Product
from tests.cloud.tenants import FULL, SMALL, Plan, Server, Tenant

_SECONDS = pytest.StashKey[dict[str, float]]()

#: whose, and what
SERVERS = (
    ("acme", Plan("web", "compute-1", FULL, "qcow2", agent=True)),
    ("acme", Plan("db", "compute-2", FULL, "qcow2", agent=False)),
    ("globex", Plan("shop", "compute-2", FULL, "raw", agent=True, config_drive=True)),
    ("globex", Plan("batch", "compute-1", SMALL, "raw", agent=False)),
)


@contextlib.contextmanager
def _phase(config: pytest.Config, name: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    config.stash.setdefault(_SECONDS, {})[name] = time.monotonic() - begun


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds = terminalreporter.config.stash.get(_SECONDS, {})
    if seconds:
        terminalreporter.section("phases of the cloud, in seconds")
        for name, value in seconds.items():
            terminalreporter.write_line(f"{value:7.1f}  {name}")


@pytest.fixture(scope="session")
def cloud(pytestconfig: pytest.Config) -> Iterator[Cloud]:
    made = Cloud()
    with made:
        pytestconfig.stash.setdefault(_SECONDS, {}).update(made.seconds)
        with _phase(pytestconfig, "flavors and images"):
            tenants.furnish(made)
        yield made


@pytest.fixture(scope="session")
def acme(cloud: Cloud) -> Tenant:
    return tenants.tenant(cloud, "acme")


@pytest.fixture(scope="session")
def globex(cloud: Cloud) -> Tenant:
    return tenants.tenant(cloud, "globex")


@pytest.fixture(scope="session")
def servers(
    pytestconfig: pytest.Config, cloud: Cloud, acme: Tenant, globex: Tenant
) -> dict[str, Server]:
    """The servers by name, all of them up."""
    owners = {"acme": acme, "globex": globex}
    with _phase(pytestconfig, "four servers"):
        booted = [tenants.boot(owners[owner], plan) for owner, plan in SERVERS]
        for server in booted:
            server.await_status("ACTIVE")
        for server in booted:
            truth.await_boot(cloud.hosts[server.plan.host], server.id)
    return {server.plan.name: server for server in booted}


@pytest.fixture(scope="session")
def product(
    pytestconfig: pytest.Config, cloud: Cloud, servers: dict[str, Server]
) -> Iterator[Product]:
    """It comes into a cloud that is running."""
    made = Product(cloud)
    with contextlib.ExitStack() as end:
        with _phase(pytestconfig, "nova-diskaudit"):
            end.enter_context(made)
        yield made


@pytest.fixture(scope="session")
def auditor(cloud: Cloud, product: Product) -> DiskAuditProxy:
    """The service as an operator sees it."""
    person = cloud.directory.user("auditor", cloud.services_project, "diskaudit_auditor")
    return product.disk_audit(person)

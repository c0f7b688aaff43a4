# SPDX-License-Identifier: Apache-2.0
"""The plugins inside of Nova: they change where a server lands, and what a flavor may say.

nova-diskaudit is installed beside Nova as an operator would. Hosts have file systems of their own.
On compute-1 much is promised and nearly nothing held; on compute-2 something that Nova does not
know holds half of the disk. Nova alone prefers compute-2: it compares free bytes less promises.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from nova_diskaudit import limits
from nova_diskaudit.sdk._proxy import DiskAuditProxy
from tests.cloud import nova, seen, tenants, truth
from tests.cloud.cloud import Cloud, Host
from tests.cloud.product import Product
from tests.cloud.service import credentials
from tests.cloud.tenants import GIB, IMAGES, SMALL, Plan, Server, Tenant
from tests.plugins import inside
from tests.services.api import Settings
from tests.services.cloud import Person

FULL_HOST, PROMISING_HOST = "compute-2", "compute-1"
_HELD = 24 * GIB
_PROMISED_GIB = 30
#: Between what is free on the two hosts.
_WATERMARK = 0.7
_WORKERS = 2
_KNOWN = re.compile(r"Disk audit: the figures of \d+ hosts are known")

_FILTERS = (
    "ComputeFilter",
    "ComputeCapabilitiesFilter",
    "ImagePropertiesFilter",
)
_DISK_WEIGHER = "nova.scheduler.weights.disk.DiskWeigher"
_PLUGINS = "nova_diskaudit.scheduler"
NOVA_ALONE: Settings = {
    "filter_scheduler": {
        "enabled_filters": ",".join(_FILTERS),
        "weight_classes": _DISK_WEIGHER,
    }
}
WITH_FILTER: Settings = {
    "filter_scheduler": {
        "available_filters": "nova.scheduler.filters.all_filters\n"
        f"available_filters = {_PLUGINS}.filters.ActualDiskFilter",
        "enabled_filters": ",".join((*_FILTERS, "ActualDiskFilter")),
        "weight_classes": _DISK_WEIGHER,
    },
    "nova_diskaudit": {"min_free_ratio": _WATERMARK, "refresh_interval": 10},
}
WITH_WEIGHER: Settings = {
    "filter_scheduler": {
        "enabled_filters": ",".join(_FILTERS),
        "weight_classes": f"{_DISK_WEIGHER},{_PLUGINS}.weights.ActualDiskWeigher",
    },
    "nova_diskaudit": {"weight_multiplier": 10, "refresh_interval": 10},
}


class PluggedScheduler(nova.Scheduler):
    """A nova-scheduler with nova-diskaudit in its Python, and several workers."""

    def __init__(
        self, surroundings: nova.Surroundings, installed: pathlib.Path, own: Settings
    ) -> None:
        super().__init__(surroundings)
        self._installed = installed
        self._own = own

    def settings(self) -> Settings:
        return {**super().settings(), "scheduler": {"workers": _WORKERS}, **self._own}

    def environ(self) -> Mapping[str, str]:
        return {**super().environ(), "PYTHONPATH": str(self._installed)}

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class PluggedApi(nova.Api):
    """A Nova API with nova-diskaudit in its Python."""

    def __init__(self, surroundings: nova.Surroundings, installed: pathlib.Path) -> None:
        super().__init__(surroundings)
        self._installed = installed

    def environ(self) -> Mapping[str, str]:
        return {**super().environ(), "PYTHONPATH": str(self._installed)}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return inside.install(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def auditing(cloud: Cloud, product: Product) -> Person:
    """The user of the plugins: it sees all hosts and projects, and writes nothing."""
    return cloud.directory.user("scheduler", cloud.services_project, "diskaudit_auditor")


@pytest.fixture(scope="module")
def no_scheduler(cloud: Cloud, lopsided: None) -> Iterator[None]:
    """The cloud's own nova-scheduler is away, for there is one of a test's."""
    cloud.scheduler.terminate()
    yield
    cloud.scheduler.resume()


@pytest.fixture(scope="module")
def initech(cloud: Cloud) -> Tenant:
    return tenants.tenant(cloud, "initech")


@pytest.fixture(scope="module")
def lopsided(cloud: Cloud, initech: Tenant, auditor: DiskAuditProxy) -> Iterator[None]:
    """The hosts as above, once Nova and the central service know it."""
    flavor = f"promise-{secrets.token_hex(4)}"
    cloud.admin.compute.create_flavor(name=flavor, id=flavor, ram=64, vcpus=1, disk=_PROMISED_GIB)
    promise = tenants.Flavor(flavor, disk=_PROMISED_GIB, ephemeral=0, swap=0)
    server = tenants.boot(initech, Plan("promise", PROMISING_HOST, promise, "qcow2", agent=False))
    held = cloud.hosts[FULL_HOST].instances / "backup.tar"
    with held.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, _HELD)
    try:
        server.await_status("ACTIVE")
        truth.in_time(lambda: _nova_prefers_the_full_host(cloud))
        truth.in_time(lambda: _really_free_is_known(cloud, auditor))
        yield
    finally:
        held.unlink()
        delete(server)


def _nova_prefers_the_full_host(cloud: Cloud) -> None:
    answer = cloud.admin.compute.get("/os-hypervisors/detail", microversion="2.87")
    least = {
        one["service"]["host"]: one["disk_available_least"] for one in answer.json()["hypervisors"]
    }
    assert least[FULL_HOST] > least[PROMISING_HOST] > SMALL.disk, least


def _really_free_is_known(cloud: Cloud, auditor: DiskAuditProxy) -> None:
    share = {}
    for name, host in cloud.hosts.items():
        (storage,) = (
            one
            for one in auditor.get_host(name).storages
            if one["instances_path"] == str(host.instances)
        )
        share[name] = storage["free_bytes"] / storage["total_bytes"]
    assert share[FULL_HOST] < _WATERMARK < share[PROMISING_HOST], share


@contextlib.contextmanager
def scheduling(
    cloud: Cloud, installed: pathlib.Path, user: Person, own: Settings
) -> Iterator[PluggedScheduler]:
    """A nova-scheduler; the cloud's own is away."""
    access = credentials(cloud.keystone.url, user.id, user.password, str(user.project))
    with PluggedScheduler(cloud.surroundings, installed, {**own, "disk_audit": access}) as made:
        yield made
        # In order, so that the next one gets the requests.
        made.terminate()


def boot(owner: Tenant, image: tuple[str, bool] = ("qcow2", False), flavor: str = "small") -> str:
    """A server that may land anywhere; its id, once it is there or will never be."""
    compute = owner.connection.compute
    made = compute.create_server(
        name="anywhere",
        image_id=owner.connection.image.find_image(IMAGES[image]).id,
        flavor_id=flavor,
        networks="none",
    )

    def look() -> str:
        found = compute.get_server(made.id)
        assert found.status in ("ACTIVE", "ERROR"), found.status
        return str(found.id)

    return truth.in_time(look)


def delete(server: str | Server, owner: Tenant | None = None) -> None:
    """Delete it, and wait until it is gone.

    It is asked for again when it takes long: Nova was seen to accept it and do nothing.
    """
    uuid = server if isinstance(server, str) else server.id
    whose = owner if isinstance(server, str) else server.tenant
    assert whose is not None
    compute = whose.connection.compute
    for _ in range(9):
        # One that found no host is gone at once.
        compute.delete_server(uuid, ignore_missing=True)
        try:
            truth.await_true("its end", lambda: tenants.is_gone(compute, uuid), truth.LONG / 9)
        except AssertionError:
            continue
        return
    found = compute.get_server(uuid)
    raise AssertionError(f"not deleted: {found.status}, {found.task_state}, {found.fault}")


def landed(cloud: Cloud, owner: Tenant) -> str | None:
    """The host of a new server, which is deleted again; None if Nova found none."""
    uuid = boot(owner)
    found: Any = cloud.admin.compute.get_server(uuid)
    host = found.compute_host if found.status == "ACTIVE" else None
    delete(uuid, owner)
    return host


def make_known(cloud: Cloud, scheduler: PluggedScheduler, owner: Tenant) -> None:
    """Until each worker has a snapshot: the first request of each is answered without one."""

    def look() -> None:
        if len(_KNOWN.findall(scheduler.said())) < _WORKERS:
            landed(cloud, owner)
        assert len(_KNOWN.findall(scheduler.said())) == _WORKERS

    truth.in_time(look)


# --- flavors ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plugged_api(cloud: Cloud, installed: pathlib.Path) -> Iterator[PluggedApi]:
    with PluggedApi(cloud.surroundings, installed) as api:
        yield api


def say(cloud: Cloud, api: nova.Api, flavor: str, **specs: str) -> int:
    """Give a flavor extra specs of ours; the status of Nova's answer."""
    answer = cloud.admin.compute.post(
        f"{api.url}/v2.1/flavors/{flavor}/os-extra_specs",
        json={"extra_specs": {f"diskaudit:{name}": value for name, value in specs.items()}},
        microversion="2.86",
    )
    return int(answer.status_code)


@pytest.fixture
def flavor(cloud: Cloud) -> Iterator[str]:
    name = f"guest-{secrets.token_hex(4)}"
    cloud.admin.compute.create_flavor(name=name, id=name, ram=128, vcpus=1, disk=1)
    yield name
    cloud.admin.compute.delete_flavor(name)


def test_novas_api_knows_what_a_flavor_may_say(
    cloud: Cloud, plugged_api: PluggedApi, flavor: str
) -> None:
    assert say(cloud, cloud.nova, flavor, guest_stats="maybe") == 200
    assert say(cloud, plugged_api, flavor, guest_stats="maybe") == 400
    assert say(cloud, plugged_api, flavor, anything="off") == 400
    assert say(cloud, plugged_api, flavor, guest_stats="off") == 200


@pytest.mark.parametrize(
    ("word", "agent", "state", "missed"),
    [("off", True, "guest-stats-off", False), ("required", False, "agent-absent", True)],
)
def test_what_a_flavor_says_holds_for_its_servers(
    cloud: Cloud,
    plugged_api: PluggedApi,
    auditor: DiskAuditProxy,
    acme: Tenant,
    flavor: str,
    word: str,
    agent: bool,
    state: str,
    missed: bool,
) -> None:
    assert say(cloud, plugged_api, flavor, guest_stats=word) == 200
    uuid = boot(acme, ("qcow2", agent), flavor)
    try:
        host = _host_of(cloud, uuid)
        truth.await_boot(host, uuid)

        def look() -> None:
            found = seen.find(auditor, uuid)
            assert found is not None and found.is_verified
            assert found.guest["state"] == state
            codes = {one["code"] for one in found.findings}
            assert ("guest-stats-missing" in codes) == missed

        truth.in_time(look)
    finally:
        delete(uuid, acme)


def _host_of(cloud: Cloud, uuid: str) -> Host:
    found: Any = cloud.admin.compute.get_server(uuid)
    return cloud.hosts[found.compute_host]


# --- where a server lands -----------------------------------------------------------------------


def test_nova_alone_takes_the_full_host(
    cloud: Cloud, installed: pathlib.Path, auditing: Person, initech: Tenant, no_scheduler: None
) -> None:
    """Without this the next two would say nothing."""
    with scheduling(cloud, installed, auditing, NOVA_ALONE) as scheduler:
        assert landed(cloud, initech) == FULL_HOST
        assert landed(cloud, initech) == FULL_HOST
        assert "Disk audit" not in scheduler.said()


def test_the_filter_refuses_the_full_host(
    cloud: Cloud, installed: pathlib.Path, auditing: Person, initech: Tenant, no_scheduler: None
) -> None:
    with scheduling(cloud, installed, auditing, WITH_FILTER) as scheduler:
        make_known(cloud, scheduler, initech)
        assert landed(cloud, initech) == PROMISING_HOST
        assert landed(cloud, initech) == PROMISING_HOST
        said = scheduler.said()
    assert f"Disk audit: 1 hosts too full for new servers: {FULL_HOST}" in said
    assert "oslo_service.backend._threading" in said
    assert "Traceback" not in said


def test_the_weigher_prefers_what_is_really_free(
    cloud: Cloud, installed: pathlib.Path, auditing: Person, initech: Tenant, no_scheduler: None
) -> None:
    with scheduling(cloud, installed, auditing, WITH_WEIGHER) as scheduler:
        make_known(cloud, scheduler, initech)
        assert landed(cloud, initech) == PROMISING_HOST
        assert landed(cloud, initech) == PROMISING_HOST
        assert "Traceback" not in scheduler.said()


def test_while_the_service_is_away_nova_schedules_as_ever(
    cloud: Cloud,
    installed: pathlib.Path,
    auditing: Person,
    initech: Tenant,
    product: Product,
    no_scheduler: None,
) -> None:
    """Nothing is known, so nothing is refused; and nobody waits."""
    product.api.terminate()
    try:
        with scheduling(cloud, installed, auditing, WITH_FILTER) as scheduler:
            assert landed(cloud, initech) == FULL_HOST
            assert landed(cloud, initech) == FULL_HOST
            said = scheduler.said()
    finally:
        product.api.resume()
    told = re.findall(r"Disk audit: the figures of the hosts cannot be renewed.*", said)
    assert 1 <= len(told) <= _WORKERS


# --- projects -----------------------------------------------------------------------------------


@pytest.fixture
def nothing_allowed(
    cloud: Cloud, product: Product, auditor: DiskAuditProxy, initech: Tenant, no_scheduler: None
) -> Iterator[None]:
    """Keystone's limit of what storage may hold: 0 GiB for one project, not for the others."""
    session, url = cloud.system_admin, cloud.keystone.url
    answer = session.get(f"{url}/registered_limits?resource_name={limits.HOST_ALLOCATED}")
    (registered,) = answer.json()["registered_limits"]
    limit = {name: registered[name] for name in ("service_id", "region_id", "resource_name")} | {
        "project_id": initech.project,
        "resource_limit": 0,
    }
    answer = session.post(f"{url}/limits", json={"limits": [limit]})
    own = answer.json()["limits"][0]["id"]
    try:
        truth.in_time(lambda: _is_past(product, auditor, initech))
        yield
    finally:
        session.delete(f"{url}/limits/{own}")
        product.reconcile("limits")


def _is_past(product: Product, auditor: DiskAuditProxy, tenant: Tenant) -> None:
    product.reconcile("limits", "roll-up")
    known = {one.project_id: one.limits for one in auditor.usages()}
    (limit,) = (one for one in known[tenant.project] if one["name"] == limits.HOST_ALLOCATED)
    assert limit["limit_gib"] == 0 and limit["used_bytes"] > 0, limit


def test_a_project_past_its_limit_gets_no_new_server(
    cloud: Cloud,
    installed: pathlib.Path,
    auditing: Person,
    acme: Tenant,
    initech: Tenant,
    no_scheduler: None,
    nothing_allowed: None,
) -> None:
    own = {
        **WITH_FILTER,
        "nova_diskaudit": {
            "min_free_ratio": 0,
            "project_limits": True,
            "refresh_interval": 10,
        },
    }
    with scheduling(cloud, installed, auditing, own) as scheduler:
        make_known(cloud, scheduler, acme)
        past = f"Disk audit: 1 projects past their limit: {initech.project}"
        assert scheduler.said().count(past) == _WORKERS
        assert landed(cloud, initech) is None
        assert landed(cloud, acme) is not None

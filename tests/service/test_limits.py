# SPDX-License-Identifier: Apache-2.0
"""Limits in real Keystones: flat and hierarchical, seen by who may and by who may not."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from nova_diskaudit.cloud import CloudError
from nova_diskaudit.cloud import keystone as cloud_keystone
from nova_diskaudit.limits import (
    GUEST_USED,
    HIERARCHICAL,
    HOST_ALLOCATED,
    NOVA_DISK,
    UNLIMITED,
)
from tests.service.limits import Limits, configured, credentials, keystone
from tests.services.cloud import Cloud
from tests.services.keystone import Keystone

Ask = Callable[..., cloud_keystone.Keystone]


def a_cloud(settings: str = "") -> Iterator[Cloud]:
    with Keystone(settings) as server:
        cloud = Cloud(server)
        cloud.endpoint("identity", server.url, "public", "internal")
        yield cloud


@pytest.fixture(scope="module")
def flat() -> Iterator[Cloud]:
    yield from a_cloud()


@pytest.fixture(scope="module")
def hierarchical() -> Iterator[Cloud]:
    yield from a_cloud("[unified_limit]\nenforcement_model = strict_two_level\n")


@pytest.fixture(scope="module")
def miserly() -> Iterator[Cloud]:
    """It cuts what it answers."""
    yield from a_cloud("[unified_limit]\nlist_limit = 2\n[resource]\nlist_limit = 2\n")


@pytest.fixture
def limits(flat: Cloud) -> Iterator[Limits]:
    found = Limits(flat)
    yield found
    found.clear()


@pytest.fixture
def ask(tmp_path: pathlib.Path) -> Ask:
    """Keystone as the service asks it, by the credentials of an operator."""

    def asked(cloud: Cloud, region: str = "") -> cloud_keystone.Keystone:
        operator = cloud.user("diskaudit", cloud.project("service"), "admin")
        text = f"[nova]\n{credentials(operator)}"
        if region:
            # Keystone itself is elsewhere.
            text += f"region_name = {region}\n[keystone]\nregion_name = RegionOne\n"
        return keystone(configured(tmp_path, text))

    return asked


def test_a_keystone_without_limits(limits: Limits, ask: Ask) -> None:
    assert ask(limits.cloud).limits() == cloud_keystone.Limits("flat", {})


def test_defaults_and_what_overrides_them(limits: Limits, ask: Ask) -> None:
    red, blue = limits.cloud.project("red"), limits.cloud.project("blue")
    ours, nova = limits.service("disk-audit"), limits.service("compute")
    other = limits.service("other")
    limits.register(ours, HOST_ALLOCATED, 100)
    limits.register(ours, GUEST_USED, UNLIMITED)
    limits.register(nova, NOVA_DISK, 500)
    limits.register(nova, "class:VCPU", 8)
    limits.register(other, HOST_ALLOCATED, 1)
    limits.set(ours, HOST_ALLOCATED, 200, project_id=red)
    limits.set(ours, HOST_ALLOCATED, UNLIMITED, project_id=blue)
    limits.set(ours, GUEST_USED, 0, project_id=blue)
    limits.set(nova, NOVA_DISK, 1000, domain_id="default")
    limits.set(nova, "class:VCPU", 16, project_id=red)
    limits.set(other, HOST_ALLOCATED, 2, project_id=red)
    found = ask(limits.cloud).limits()
    assert found.model == "flat"
    assert {
        name: (one.registered.default_limit, one.projects, one.domains)
        for name, one in found.by_name.items()
    } == {
        HOST_ALLOCATED: (100, {red: 200, blue: UNLIMITED}, {}),
        GUEST_USED: (UNLIMITED, {blue: 0}, {}),
        NOVA_DISK: (500, {}, {"default": 1000}),
    }


def test_limits_of_regions(limits: Limits, ask: Ask) -> None:
    project, nova = limits.cloud.project(), limits.service("compute")
    limits.region("North")
    limits.region("South")
    limits.register(nova, NOVA_DISK, 1, region="North")
    limits.set(nova, NOVA_DISK, 10, region="North", project_id=project)
    anywhere = ask(limits.cloud)
    assert anywhere.limits().by_name[NOVA_DISK].projects == {project: 10}, "there is no other"
    limits.register(nova, NOVA_DISK, 2, region="South")
    limits.set(nova, NOVA_DISK, 20, region="South", project_id=project)
    with pytest.raises(CloudError, match=r"regions: North, South.*region_name"):
        anywhere.limits()
    for region, default in (("North", 1), ("South", 2)):
        found = ask(limits.cloud, region).limits().by_name[NOVA_DISK]
        assert (found.registered.default_limit, found.projects) == (
            default,
            {project: 10 * default},
        )
    assert ask(limits.cloud, "East").limits().by_name == {}
    limits.register(nova, NOVA_DISK, 3)
    assert ask(limits.cloud, "East").limits().by_name[NOVA_DISK].registered.default_limit == 3


def test_a_hierarchy(hierarchical: Cloud, ask: Ask) -> None:
    limits = Limits(hierarchical)
    domain = limits.domain("customer")
    project, sibling = limits.project(domain, "one"), limits.project(domain, "two")
    ours = limits.service("disk-audit")
    limits.register(ours, HOST_ALLOCATED, 100)
    limits.set(ours, HOST_ALLOCATED, 60, domain_id=domain)
    limits.set(ours, HOST_ALLOCATED, 40, project_id=project)
    asked = ask(hierarchical)
    found = asked.limits()
    assert found.model == HIERARCHICAL
    assert found.by_name[HOST_ALLOCATED].domains == {domain: 60}
    assert found.by_name[HOST_ALLOCATED].projects == {project: 40}
    domains = asked.domains()
    assert domains[project] == domains[sibling] == domain
    assert "default" in domains.values()


def test_projects_in_pages(hierarchical: Cloud, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(hierarchical)
    domain = limits.domain("pages")
    projects = {limits.project(domain, f"p{number}") for number in range(5)}
    asked = ask(hierarchical)
    at_once = asked.domains()
    monkeypatch.setattr(cloud_keystone, "_PAGE", 2)
    assert asked.domains() == at_once
    assert {project for project, where in at_once.items() if where == domain} == projects


def test_a_limit_of_lists_cuts_nothing(miserly: Cloud, ask: Ask) -> None:
    limits = Limits(miserly)
    ours = limits.service("disk-audit")
    projects = [miserly.project(f"p{number}") for number in range(3)]
    for name in (HOST_ALLOCATED, GUEST_USED, "more"):
        limits.register(ours, name, 100)
        for project in projects:
            limits.set(ours, name, 1, project_id=project)
    asked = ask(miserly)
    found = asked.limits()
    assert set(found.by_name) == {HOST_ALLOCATED, GUEST_USED}
    assert all(set(one.projects) == set(projects) for one in found.by_name.values())
    assert set(projects) < set(asked.domains())


# --- who sees it ----------------------------------------------------------------------------


def test_who_would_see_their_own_project_alone(limits: Limits, tmp_path: pathlib.Path) -> None:
    eve = limits.cloud.user("eve", limits.cloud.project(), "member", "reader")
    asked = keystone(configured(tmp_path, f"[nova]\n{credentials(eve)}"))
    with pytest.raises(CloudError, match="do not see the limits of all projects"):
        asked.limits()


def test_a_reader_of_the_system_by_credentials_of_its_own(
    limits: Limits, tmp_path: pathlib.Path
) -> None:
    """As Keystone before 29 needs it: what [nova] has sees one project."""
    cloud = limits.cloud
    project, ours = cloud.project(), limits.service("disk-audit")
    limits.register(ours, HOST_ALLOCATED, 100)
    limits.set(ours, HOST_ALLOCATED, 1, project_id=project)
    eve = cloud.user("eve", cloud.project(), "reader")
    reader = cloud.user("reader", None, "reader")
    asked = keystone(
        configured(
            tmp_path,
            f"[nova]\n{credentials(eve)}[keystone]\n{credentials(reader, system_scope='all')}",
        )
    )
    assert asked.limits().by_name[HOST_ALLOCATED].projects == {project: 1}


def test_a_keystone_that_is_away(tmp_path: pathlib.Path) -> None:
    with Keystone() as server:
        cloud = Cloud(server)
        operator = cloud.user("diskaudit", cloud.project("service"), "admin")
        conf = configured(tmp_path, f"[nova]\n{credentials(operator)}")
    with pytest.raises(CloudError) as raised:
        keystone(conf).limits()
    assert "\n" not in str(raised.value)

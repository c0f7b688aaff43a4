# SPDX-License-Identifier: Apache-2.0
"""What Placement says, from a real one: by project, by provider, and to whom it says nothing."""

from __future__ import annotations

import itertools
import pathlib

import pytest

from nova_diskaudit.cloud import CloudError, connection
from nova_diskaudit.cloud import placement as cloud_placement
from nova_diskaudit.conf import service
from tests.services.cloud import Cloud, Person
from tests.services.placement import Placement, Promises


def asked_by(person: Person, tmp_path: pathlib.Path) -> cloud_placement.Placement:
    """Placement as a service that runs with a user's credentials would ask it."""
    file = tmp_path / f"{person.name}.conf"
    file.write_text(
        f"[nova]\nauth_type = password\nauth_url = {person.cloud.url}\nuser_id = {person.id}\n"
        f"password = {person.password}\nproject_id = {person.project}\ntimeout = 10\n"
    )
    return cloud_placement.Placement(
        connection.connect(service.read([str(file)]), group="placement")
    )


@pytest.fixture
def asked(placement: Placement, cloud: Cloud, tmp_path: pathlib.Path) -> cloud_placement.Placement:
    return asked_by(cloud.user("diskaudit", cloud.project("service"), "admin"), tmp_path)


def test_claims_of_two_projects(
    asked: cloud_placement.Placement, promises: Promises, cloud: Cloud
) -> None:
    red, blue = cloud.project("red"), cloud.project("blue")
    one, other = promises.node("claims-1", disk_gb=1000), promises.node("claims-2", disk_gb=1000)
    promises.claim(red, {one: 20})
    promises.claim(red, {other: 5})
    from_volume = promises.claim(blue, {one: 0})
    moving = promises.claim(blue, {one: 7, other: 7})
    assert asked.claimed_disk_gb(red) == 25
    assert asked.claimed_disk_gb(blue) == 14, "on both hosts until it is confirmed"
    promises.claim(blue, {other: 7}, consumer=moving)
    assert asked.claimed_disk_gb(blue) == 7
    promises.release(moving)
    assert asked.claimed_disk_gb(blue) == 0, "what boots from a volume has no disk"
    found = asked.allocations(one)
    assert found is not None and found.consumers[from_volume].disk_gb == 0
    assert asked.claimed_disk_gb(cloud.project("nobody")) == 0


def test_what_moves_a_generation(
    asked: cloud_placement.Placement, promises: Promises, cloud: Cloud
) -> None:
    def generations() -> tuple[int, int]:
        found = {one.uuid: one.generation for one in asked.providers()}
        return found[node], found[other]

    project = cloud.project()
    node, other = promises.node("moves-1", disk_gb=100), promises.node("moves-2", disk_gb=100)
    steps = [generations()]
    one, two, three = (promises.claim(project, {node: disk}) for disk in (1, 2, 3))
    steps.append(generations())
    promises.empty(project, one)
    steps.append(generations())
    promises.release(two)
    steps.append(generations())
    promises.claim(project, {other: 3}, consumer=three)
    steps.append(generations())
    moved = [(now[0] > before[0], now[1] > before[1]) for before, now in itertools.pairwise(steps)]
    assert moved == [
        (True, False),  # promised
        (True, False),  # emptied
        (False, False),  # deleted
        (False, True),  # moved away
    ]


def test_what_is_known_of_a_provider(
    asked: cloud_placement.Placement, promises: Promises, cloud: Cloud
) -> None:
    project, node = cloud.project(), promises.node("known", disk_gb=100)
    consumers = {promises.claim(project, {node: disk}): disk for disk in (1, 2)}
    provider = next(one for one in asked.providers() if one.uuid == node)
    found = asked.allocations(node)
    assert (provider.name, provider.root_provider_uuid) == ("known", node)
    assert provider.parent_provider_uuid is None
    assert found is not None and found.generation == provider.generation
    assert {uuid: one.disk_gb for uuid, one in found.consumers.items()} == consumers


def test_a_provider_that_is_gone(asked: cloud_placement.Placement) -> None:
    assert asked.allocations("00000000-0000-4000-8000-000000000000") is None


def test_a_reader_may_not(placement: Placement, cloud: Cloud, tmp_path: pathlib.Path) -> None:
    reader = asked_by(cloud.user("eve", cloud.project(), "reader"), tmp_path)
    for ask in (
        reader.providers,
        lambda: reader.claimed_disk_gb("somebody"),
        lambda: reader.allocations("00000000-0000-4000-8000-000000000000"),
    ):
        with pytest.raises(CloudError, match="Placement answered 403 to GET"):
            ask()


def test_a_placement_that_is_away(asked: cloud_placement.Placement, placement: Placement) -> None:
    placement.terminate()
    try:
        with pytest.raises(CloudError) as raised:
            asked.providers()
        assert "\n" not in str(raised.value)
    finally:
        placement.resume()
    assert asked.claimed_disk_gb("nobody") == 0

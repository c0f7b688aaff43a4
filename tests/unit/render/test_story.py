# SPDX-License-Identifier: Apache-2.0
import re

import msgspec
import pytest

from nova_diskaudit import explain, facts
from nova_diskaudit.render import as_json, story
from tests.unit.render import golden, sample

GIB = sample.GIB


def _layer(**more: object) -> facts.Layer:
    fields: dict[str, object] = {
        "storage": "file",
        "source": "/var/lib/nova/instances/8f3a11c2/disk",
        "format": "raw",
    }
    return facts.Layer(**(fields | more))


def _sighting(
    layers: tuple[facts.Layer, ...],
    seen: facts.DiskSighting,
    claims: facts.GuestClaims | None,
) -> facts.Sighting:
    disk = facts.DiskDefinition(
        target="vda",
        device="disk",
        bus="virtio",
        serial="root",
        alias="virtio-disk0",
        address="pci:0000:04:00.0",
        discard="unmap",
        read_only=False,
        shareable=False,
        layers=layers,
        data_file=None,
        chain_complete=True,
    )
    domain = facts.Domain(
        uuid=sample.seed().uuid,
        name="instance-0000002a",
        state="running",
        channel="connected",
        project_id=None,
        user_id=None,
        flavor=None,
        disks=(disk,),
        seen_at=sample.AS_OF,
    )
    return facts.Sighting(
        uuid=domain.uuid,
        name=domain.name,
        as_of=sample.AS_OF,
        domain=domain,
        disks={"vda": seen},
        claims=claims,
        guest_doubt=None if claims else facts.Doubt(code="agent-timeout", detail="3 s"),
        doubts=(),
    )


def _seed(name: str = "vda", mountpoint: str = "/") -> facts.Sighting:
    """The case the project began with, as libvirt 9.0 and QEMU 7.2 showed it."""
    held = facts.LayerFacts(
        identity="file:fd01:1057",
        virtual_bytes=2 * GIB,
        allocated_bytes=110268416,
        allocated_source="stat",
        container_bytes=2 * GIB,
        host_block_bytes=4096,
        shares_extents=False,
        has_backing=False,
    )
    seen = facts.DiskSighting(
        layers=(held,),
        after=held,
        stats=facts.BlockStats(
            capacity=2 * GIB, allocation=2 * GIB, physical=110268416, as_of=sample.AS_OF
        ),
    )
    claims = facts.GuestClaims(
        agent_version="7.2.22",
        filesystems=(
            facts.GuestFilesystem(
                name=name,
                mountpoint=mountpoint,
                type="xfs",
                used_bytes=41967616,
                total_bytes=2136997888,
                size_bytes=2136997888,
                devices=(facts.GuestDevice(dev="/dev/vda", serial="root", address=None),),
            ),
        ),
        disks=None,
        as_of=sample.AS_OF,
    )
    return _sighting((_layer(),), seen, claims)


def _asked() -> facts.BlockInfo:
    return facts.BlockInfo(
        capacity=2 * GIB, allocation=2 * GIB, physical=110268416, as_of=sample.AS_OF
    )


@pytest.mark.parametrize("name", ["seed", "overlay"])
def test_golden(name: str) -> None:
    # Stories that were told once, so that new words of explain do not change the page here.
    told = msgspec.json.decode(golden.read(f"story-{name}.json"), type=explain.Story)
    golden.check(f"story-{name}.txt", story.render(told))


@pytest.mark.parametrize("allocated_bytes", [0, 110268416, 2 * GIB, 2 * GIB + 4096, 3 * GIB])
@pytest.mark.parametrize("name", ["vda", "dm-0"])
def test_the_arithmetic_on_the_page_is_right(allocated_bytes: int, name: str) -> None:
    seen = _seed(name=name)
    disk = seen.disks["vda"]
    held = msgspec.structs.replace(disk.layers[0], allocated_bytes=allocated_bytes)
    disk = msgspec.structs.replace(disk, layers=(held,), after=held)
    told = explain.tell(
        "compute-1", msgspec.structs.replace(seen, disks={"vda": disk}), "vda", None
    )
    checked = 0
    for step in told.arithmetic:
        if re.fullmatch(r"(?:min|max|[\d ,()+*/-])+", step.formula):
            # Division is that of whole bytes, and one number has a maximum too.
            words = {"min": lambda *n: min(n), "max": lambda *n: max(n)}
            assert eval(step.formula.replace(" / ", " // "), words) == step.result_bytes, step
            checked += 1
    assert checked >= 5


def test_the_numbers_of_both_columns_stand_on_the_page() -> None:
    page = story.render(explain.tell("compute-1", _seed(), "vda", _asked()))
    rows = {line.split()[0]: line.split()[1:] for line in page.splitlines() if line.split()}
    assert rows["Capacity"] == ["2,147,483,648", "2,147,483,648", "2.00", "GiB"]
    assert rows["Allocation"] == ["2,147,483,648", "2,147,483,648", "2.00", "GiB"]
    assert rows["Physical"] == ["110,268,416", "110,268,416", "105", "MiB"]
    assert rows["vda"][:5] == ["xfs", "41,967,616", "40.0", "MiB", "2,136,997,888"]


def test_a_surprise_of_libvirt_is_said() -> None:
    other = msgspec.structs.replace(_asked(), allocation=4096)
    page = story.render(explain.tell("compute-1", _seed(), "vda", other))
    assert "The two columns differ" in page


@pytest.mark.parametrize("color", [False, True])
def test_a_guest_cannot_move_the_terminal(color: bool) -> None:
    seen = _seed(name=sample.HOSTILE, mountpoint=sample.HOSTILE)
    told = explain.tell("compute-1", seen, "vda", _asked())
    page = story.render(told, color=color)
    assert ("\x1b[1m" in page) == color
    assert re.sub(r"\x1b\[[\d;]*m", "", page).replace("\n", "").isprintable()


def test_the_same_story_as_json() -> None:
    told = explain.tell("compute-1", _seed(), "vda", _asked())
    document = as_json.render(told, pretty=True)
    assert msgspec.json.decode(document, type=explain.Story) == told

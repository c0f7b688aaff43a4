# SPDX-License-Identifier: Apache-2.0
"""What is said about a disk, from what was seen of it."""

from __future__ import annotations

import msgspec
import pytest

from nova_diskaudit.conclude import conclude, conclude_instance
from nova_diskaudit.facts import DiskSighting, Doubt, HostSighting, StorageFacts, StorageSighting
from nova_diskaudit.record import Disk
from tests.unit.engine.builders import (
    GIB,
    MIB,
    NOW,
    VOLUME,
    claims,
    disk,
    domain,
    facts,
    filesystem,
    layer,
    sighting,
    stats,
)


def codes(of: Disk) -> set[str]:
    return {finding.code for finding in of.findings}


def test_the_seed_three_equal_numbers_and_a_guest_that_is_two_percent_full() -> None:
    seen = sighting(
        domain(),
        {
            "vda": DiskSighting(
                layers=(facts(),), after=facts(), stats=stats(2 * GIB, 2 * GIB, 2 * GIB)
            )
        },
        claims=claims(filesystem()),
    )
    # physical is the bytes held unless they are 0; here the file holds all of itself
    held = facts(allocated_bytes=2 * GIB, fully_reserved=True)
    seen.disks["vda"] = DiskSighting(
        layers=(held,), after=held, stats=stats(2 * GIB, 2 * GIB, 2 * GIB)
    )
    (one,) = conclude_instance(seen).disks
    assert one.virtual_bytes == 2 * GIB
    assert one.host_allocated_bytes == 2 * GIB
    assert one.guest_used_bytes == one.used.bytes == 42 * MIB
    assert one.used.basis == "guest"
    assert {"triple-equal", "preallocated", "untrimmed", "discard-disabled"} <= codes(one)
    (triple,) = [f.message for f in one.findings if f.code == "triple-equal"]
    assert "(C: " in triple


def test_a_few_blocks_beside_the_data_do_not_hide_that_three_numbers_look_equal() -> None:
    held = facts(allocated_bytes=2 * GIB + 4096, fully_reserved=True)
    triple = stats(2 * GIB, 2 * GIB, 2 * GIB + 4096)
    seen = sighting(domain(), {"vda": DiskSighting(layers=(held,), stats=triple)})
    (one,) = conclude_instance(seen).disks
    (told,) = [f.message for f in one.findings if f.code == "triple-equal"]
    assert "(C: " in told


@pytest.mark.parametrize(
    ("allocation", "written", "cause"), [(0, 0, "A"), (0, 4096, "G"), (2 * GIB, 4096, "B")]
)
def test_a_network_disk_tells_why_all_of_it_seems_allocated(
    allocation: int, written: int, cause: str
) -> None:
    remote = disk(layers=(layer(storage="network:nbd", source="export", format="raw"),))
    unknown = facts(
        allocated_bytes=None, container_bytes=None, virtual_bytes=None, allocated_source=None
    )
    triple = msgspec.structs.replace(stats(2 * GIB, allocation, 2 * GIB), written_bytes=written)
    seen = sighting(domain(remote), {"vda": DiskSighting(layers=(unknown,), stats=triple)})
    (one,) = conclude_instance(seen).disks
    (told,) = [f.message for f in one.findings if f.code == "triple-equal"]
    assert f"({cause}: " in told


def test_a_high_water_mark_is_named_and_never_used_as_usage() -> None:
    seen = sighting(
        domain(),
        {"vda": DiskSighting(layers=(facts(),), stats=stats(2 * GIB, GIB, 100 * MIB))},
    )
    (one,) = conclude_instance(seen).disks
    assert one.high_water_bytes == GIB
    assert one.host_allocated_bytes == 100 * MIB
    assert "allocation-is-high-water-mark" in codes(one)
    assert one.used.bytes is None
    assert (one.used.low, one.used.high, one.used.basis) == (0, 2 * GIB, "host")


def test_unknown_is_null_with_a_reason_for_a_network_disk() -> None:
    remote = disk(layers=(layer(storage="network:rbd", source="vms/a", format="raw"),))
    unknown = facts(
        identity="rbd:vms/a",
        storage_identity=None,
        virtual_bytes=None,
        allocated_bytes=None,
        allocated_source=None,
        container_bytes=None,
        code="host-allocation-unknown",
        detail="rbd",
    )
    seen = sighting(domain(remote, state="shutoff"), {"vda": DiskSighting(layers=(unknown,))})
    (one,) = conclude_instance(seen).disks
    assert one.virtual_bytes is one.host_allocated_bytes is one.used.high is None
    assert one.reclaimable.high is one.backing_bytes is None
    assert {"host-allocation-unknown", "virtual-size-unknown"} == codes(one)
    assert one.used.basis == "none"


def test_a_volume_counts_by_its_id_and_a_disk_of_nova_with_a_serial_stays_local() -> None:
    seen = sighting(
        domain(
            disk("vda", serial=VOLUME, layers=(layer(source="/dev/sdx", storage="block"),)),
            disk("vdb", serial=VOLUME, layers=(layer(source=f"/i/{domain().uuid}/disk.eph0"),)),
            disk("sda", device="cdrom", layers=(layer(source="/i/x/disk.config"),)),
            disk("sdb", device="cdrom", layers=()),
        )
    )
    kinds = {d.target: d for d in conclude_instance(seen).disks}
    assert kinds["vda"].kind == "volume"
    assert kinds["vda"].identity == f"volume:{VOLUME}"
    assert kinds["vdb"].kind == "local"
    assert kinds["sda"].kind == "config"
    assert kinds["sdb"].kind == "cdrom"
    assert "no-medium" in codes(kinds["sdb"])


def test_an_external_data_file_is_believed_from_qemu_and_unknown_without_it() -> None:
    header = facts(allocated_bytes=MIB, has_external_data=True, virtual_bytes=GIB)
    qcow2 = disk(layers=(layer(format="qcow2"),))
    running = sighting(
        domain(qcow2),
        {"vda": DiskSighting(layers=(header,), stats=stats(GIB, 0, 300 * MIB))},
    )
    (one,) = conclude_instance(running).disks
    assert (one.host_allocated_bytes, one.host_allocated_source) == (300 * MIB, "qemu")
    assert "external-data-file" in codes(one)
    stopped = sighting(domain(qcow2, state="shutoff"), {"vda": DiskSighting(layers=(header,))})
    (one,) = conclude_instance(stopped).disks
    assert one.host_allocated_bytes is None
    assert "external-data-unknown" in codes(one)


def test_backing_is_summed_once_known_and_never_guessed() -> None:
    overlay = disk(layers=(layer(format="qcow2"), layer(source="/base", format="raw")))
    seen = sighting(
        domain(overlay),
        {"vda": DiskSighting(layers=(facts(has_backing=True), facts(allocated_bytes=7 * MIB)))},
    )
    (one,) = conclude_instance(seen).disks
    assert one.backing_bytes == 7 * MIB
    assert "shared-backing" in codes(one)
    unnamed = disk(layers=(layer(format="qcow2"),), chain_complete=False)
    seen = sighting(
        domain(unnamed, state="shutoff"),
        {"vda": DiskSighting(layers=(facts(has_backing=True),))},
    )
    (one,) = conclude_instance(seen).disks
    assert one.backing_bytes is None
    assert "backing-chain-unknown" in codes(one)


def test_a_storage_that_hangs_leaves_nulls_and_its_code() -> None:
    hung = facts(
        identity=None,
        virtual_bytes=None,
        allocated_bytes=None,
        container_bytes=None,
        code="storage-unresponsive",
    )
    seen = sighting(
        domain(),
        {"vda": DiskSighting(layers=(hung,))},
        guest_doubt=Doubt(code="storage-unresponsive"),
    )
    whole = conclude_instance(seen)
    assert codes(whole.disks[0]) == {"storage-unresponsive"}
    assert whole.guest.state == "storage-unresponsive"


def test_a_domain_that_libvirt_did_not_describe_is_listed_with_its_code() -> None:
    seen = sighting(domain())
    lost = seen.__class__(
        uuid=seen.uuid,
        name=seen.name,
        as_of=NOW,
        domain=None,
        disks={},
        claims=None,
        guest_doubt=None,
        doubts=(Doubt(code="domain-unreadable", detail="no answer in 3 s"),),
    )
    whole = conclude_instance(lost)
    assert whole.state == "unknown"
    assert [f.code for f in whole.findings] == ["domain-unreadable"]
    assert whole.disks == ()


def test_many_equal_findings_become_one_that_counts_them() -> None:
    bad = [
        filesystem(f"vda{n}", used_bytes=-n, total_bytes=10, size_bytes=None) for n in range(1, 500)
    ]
    whole = conclude_instance(sighting(domain(), claims=claims(*bad)))
    (told,) = [f for f in whole.findings if f.code == "guest-claim-implausible"]
    assert told.message.endswith("and 498 more")
    assert whole.disks[0].guest_used_bytes is None


def test_a_size_that_only_qemu_knows_is_missed_only_while_it_is_silent() -> None:
    luks = facts(virtual_bytes=None, code="virtual-size-unknown", detail="encrypted")
    running = sighting(
        domain(), {"vda": DiskSighting(layers=(luks,), stats=stats(GIB, 0, 100 * MIB))}
    )
    (one,) = conclude_instance(running).disks
    assert one.virtual_bytes == GIB
    assert "virtual-size-unknown" not in codes(one)
    stopped = sighting(domain(state="shutoff"), {"vda": DiskSighting(layers=(luks,))})
    (one,) = conclude_instance(stopped).disks
    assert one.virtual_bytes is None
    assert "virtual-size-unknown" in codes(one)


def test_a_guest_that_its_flavor_requires_is_missed_unless_it_does_not_run() -> None:
    def found(code: str | None, stats: str) -> set[str]:
        doubt = Doubt(code=code) if code else None
        told = claims() if code is None else None
        seen = sighting(domain(guest_stats=stats), claims=told, guest_doubt=doubt)
        return {one.code for one in conclude_instance(seen).findings}

    missing = "guest-stats-missing"
    assert found("agent-absent", "required") == {"agent-absent", missing}
    assert found("guest-not-asked", "required") == {"guest-not-asked", missing}
    assert found("guest-not-running", "required") == {"guest-not-running"}
    assert found(None, "required") == set()
    assert found("agent-absent", "optional") == {"agent-absent"}
    assert found("guest-stats-off", "off") == {"guest-stats-off"}


def test_what_is_missed_names_its_cause() -> None:
    seen = sighting(domain(guest_stats="required"), guest_doubt=Doubt(code="agent-disconnected"))
    (_, missed) = conclude_instance(seen).findings
    assert (missed.code, missed.severity) == ("guest-stats-missing", "warning")
    assert missed.message.endswith("(agent-disconnected)")


def test_a_storage_sums_what_is_promised_on_it_each_file_once() -> None:
    two = sighting(domain(disk("vda"), disk("vdb")))
    report = conclude(
        HostSighting(
            host="h",
            as_of=NOW,
            sightings=(two,),
            storages=(
                StorageSighting(
                    facts=StorageFacts(
                        identity="local:1",
                        kind="local",
                        path="/",
                        fs_type="ext4",
                        total_bytes=1,
                        free_bytes=1,
                        inodes_free=1,
                    )
                ),
            ),
        )
    )
    assert report.storages[0].virtual_sum_bytes == 2 * GIB


def test_a_sum_of_sizes_is_unknown_when_one_of_them_is() -> None:
    told = filesystem("vda1")
    silent = filesystem("vda2", total_bytes=None, size_bytes=None)
    (one,) = conclude_instance(sighting(domain(), claims=claims(told))).disks
    assert one.guest_total_bytes == 2000 * MIB
    (one,) = conclude_instance(sighting(domain(), claims=claims(told, silent))).disks
    assert one.guest_total_bytes is None
    assert one.guest_used_bytes == 84 * MIB

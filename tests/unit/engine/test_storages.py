# SPDX-License-Identifier: Apache-2.0
"""What stands between two searches of Nova's instances directory."""

from nova_diskaudit.audit.storages import as_scanned
from nova_diskaudit.facts import Doubt, InstancesDirectory, StorageFacts, StorageSighting
from nova_diskaudit.record import Leftover

ONE = "00000000-0000-4000-8000-000000000001"
TWO = "00000000-0000-4000-8000-000000000002"


def sighting(free: int, *names: str, doubt: Doubt | None = None) -> StorageSighting:
    left = tuple(Leftover(name=name, host_allocated_bytes=4096) for name in names)
    return StorageSighting(
        facts=StorageFacts(
            identity="fs:1",
            kind="local",
            path="/instances",
            fs_type="ext4",
            total_bytes=100,
            free_bytes=free,
            inodes_free=1,
        ),
        instances=InstancesDirectory(image_cache_bytes=7, leftovers=left, complete=True)
        if names
        else None,
        managed_save_bytes=5 if names else None,
        doubt=doubt,
    )


def test_what_has_a_domain_again_is_no_leftover() -> None:
    """Seen with Nova 34: a search met the moment in which a start had undefined the domain."""
    before = sighting(50, ONE, f"{ONE}_resize", TWO)
    now = as_scanned(sighting(40), before, [ONE])
    assert now.facts.free_bytes == 40
    assert now.instances is not None and now.managed_save_bytes == 5
    assert [one.name for one in now.instances.leftovers] == [f"{ONE}_resize", TWO]


def test_a_storage_that_is_new_stands_as_it_is() -> None:
    assert as_scanned(sighting(40), None, [ONE]) == sighting(40)


def test_a_new_doubt_wins() -> None:
    old, new = Doubt(code="storage-scan-incomplete"), Doubt(code="storage-unresponsive")
    before = sighting(50, ONE, doubt=old)
    assert as_scanned(sighting(40), before, []).doubt == old
    assert as_scanned(sighting(40, doubt=new), before, []).doubt == new

# SPDX-License-Identifier: Apache-2.0
"""The reconciliation: what it finds, what it must not find, and when nothing can be said."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from nova_diskaudit.store import task, transaction
from nova_diskaudit.store.tables import provider
from tests import reports
from tests.unit.reconcile.stage import Stage, disk
from tests.unit.store import look

GIB = reports.GIB


@pytest.fixture
def stage(engine: sa.Engine) -> Stage:
    return Stage(engine)


def well(stage: Stage) -> None:
    """An instance on host a, as everybody says."""
    stage.nova("one")
    stage.promised("a", one=20)
    stage.reports("a", "one")
    stage.settle()


def test_all_agree(stage: Stage) -> None:
    well(stage)
    done = stage.run()
    assert (done.hosts, done.instances, done.appeared, done.cleared) == (1, 1, 0, 0)
    assert stage.findings() == {}
    with look.written(stage.engine) as written:
        stage.run()
    assert written == ["UPDATE task 1"], "nothing to write but the lease"


# --- where an instance is -----------------------------------------------------------------------


def test_an_instance_without_a_domain(stage: Stage) -> None:
    well(stage)
    stage.nova("two")
    stage.settle()
    first = stage.now
    assert stage.codes() == {("a", "two", "instance-without-domain")}
    assert stage.findings()["a", "two", "instance-without-domain"].message.endswith(
        "(it is ACTIVE)"
    )
    stage.settle()
    assert stage.codes() == {("a", "two", "instance-without-domain")}
    assert stage.findings()["a", "two", "instance-without-domain"].since == first
    stage.reports("a", "one", "two")
    stage.promised("a", one=20, two=20)
    stage.settle()
    assert stage.codes() == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "BUILD", "task_state": "spawning"},
        {"status": "SHELVED_OFFLOADED", "host": None},
        {"status": "ERROR"},
        {"task_state": "rebooting_hard"},
        {"status": "RESIZE", "task_state": "resize_migrated"},
        {"deleted": True},
        {"host": "elsewhere"},
    ],
)
def test_an_instance_that_need_not_have_a_domain(stage: Stage, changes: dict[str, Any]) -> None:
    well(stage)
    stage.nova("two", **changes)
    stage.settle()
    assert stage.codes() == set()


def test_a_report_that_is_older_than_novas_word(stage: Stage) -> None:
    well(stage)
    stage.nova("two")
    stage.later(1)
    stage.nova_answered()
    assert stage.codes() == set(), "the host was heard before"
    stage.reports("a", "one")
    assert stage.codes() == set(), "Nova was not heard since"
    stage.settle()
    assert stage.codes() == {("a", "two", "instance-without-domain")}


def test_a_report_that_comes_late(stage: Stage) -> None:
    """It waited for hours with the agent; what it tells was seen before the instance was made."""
    well(stage)
    before = stage.now
    stage.later(60)
    stage.nova("two")
    stage.later(10)
    stage.reports("a", "one", as_of=before)
    stage.later(1)
    stage.nova_answered()
    assert stage.codes() == set()


@pytest.mark.parametrize("code", ["inventory-stale"])
def test_a_list_of_domains_that_is_old(stage: Stage, code: str) -> None:
    well(stage)
    stage.nova("two")
    stage.reports("a", "one", "three", codes=[code])
    stage.settle()
    assert stage.codes() == set()


def test_a_domain_without_an_instance(stage: Stage) -> None:
    well(stage)
    stage.reports("a", "one", "two")
    stage.settle()
    assert stage.codes() == {("a", "two", "instance-not-in-nova")}
    assert "Nova does not know it" in stage.findings()["a", "two", "instance-not-in-nova"].message
    stage.reports("a", "one")
    assert stage.findings() == {}, "with the domain what was found of it goes"
    stage.settle()
    assert stage.codes() == set()


def test_a_domain_whose_instance_was_deleted(stage: Stage) -> None:
    well(stage)
    stage.nova("one", deleted=True)
    stage.later(1)
    stage.nova_answered()
    assert stage.codes() == set(), "the host may be at it"
    stage.settle()
    found = stage.codes()
    assert found == {("a", "one", "instance-not-in-nova")}
    assert "Nova deleted it" in stage.findings()["a", "one", "instance-not-in-nova"].message


def test_a_domain_that_nova_did_not_make(stage: Stage) -> None:
    well(stage)
    stage.reports("a", "one", "router", changes={"project_id": None})
    stage.settle()
    assert stage.codes() == set()


def test_a_domain_that_appeared_since_nova_was_heard(stage: Stage) -> None:
    well(stage)
    stage.reports("a", "one", "two")
    assert stage.codes() == set()


def test_on_two_hosts(stage: Stage) -> None:
    well(stage)
    stage.reports("b", "one")
    stage.settle()
    assert stage.codes() == {
        ("a", "one", "instance-on-two-hosts"),
        ("b", "one", "instance-on-two-hosts"),
    }
    found = stage.findings()
    assert "(also on b)" in found["a", "one", "instance-on-two-hosts"].message
    here = found["b", "one", "instance-on-two-hosts"].message
    assert "(Nova has it on a; also on a)" in here
    stage.reports("b")
    stage.settle()
    assert stage.codes() == set()


def test_on_two_hosts_while_it_moves(stage: Stage) -> None:
    well(stage)
    stage.reports("b", "one")
    stage.moves(one=("a", "b"))
    stage.settle()
    assert stage.codes() == set()
    stage.moves()
    stage.nova("one", "b")
    stage.promised("a")
    stage.promised("b", one=20)
    stage.later(1)
    stage.nova_answered()
    assert stage.codes() == set(), "the source has not reported since"
    stage.settle()
    assert {code for *_, code in stage.codes()} == {"instance-on-two-hosts"}


def test_a_domain_on_the_wrong_host(stage: Stage) -> None:
    well(stage)
    stage.nova("one", "b")
    stage.promised("a")
    stage.promised("b", one=20)
    stage.reports("b")
    stage.settle()
    assert stage.codes() == {
        ("a", "one", "instance-elsewhere"),
        ("b", "one", "instance-without-domain"),
    }
    found = stage.findings()
    assert "(Nova has it on b)" in found["a", "one", "instance-elsewhere"].message
    assert "a domain of it is on a" in found["b", "one", "instance-without-domain"].message


def test_a_domain_of_an_instance_that_is_shelved(stage: Stage) -> None:
    well(stage)
    stage.nova("one", None, status="SHELVED_OFFLOADED")
    stage.settle()
    assert stage.codes() == {("a", "one", "instance-elsewhere")}
    assert "Nova has it on no host" in stage.findings()["a", "one", "instance-elsewhere"].message


def test_another_host_that_is_silent_says_nothing(stage: Stage) -> None:
    well(stage)
    stage.reports("b", "one")
    stage.later(120)
    stage.reports("a", "one")
    stage.later(1)
    stage.nova_answered()
    assert stage.codes() == {("b", "", "stale"), ("b", "one", "stale")}
    stage.settle()
    assert {code for *_, code in stage.codes()} == {"instance-on-two-hosts"}
    stage.later(120)
    stage.reports("a", "one")
    stage.later(1)
    stage.nova_answered()
    codes = stage.codes()
    assert ("a", "one", "instance-on-two-hosts") in codes, "it may be there still"
    assert ("b", "one", "instance-on-two-hosts") in codes


# --- silence ------------------------------------------------------------------------------------


def test_a_host_that_falls_silent(stage: Stage) -> None:
    well(stage)
    stage.reports("a", "one", "two")
    stage.nova("two")
    stage.promised("a", one=20, two=20)
    stage.settle()
    assert stage.codes() == set()
    stage.later(61)
    assert stage.codes() == {("a", "", "stale"), ("a", "one", "stale"), ("a", "two", "stale")}
    stage.reports("a", "one")
    assert stage.codes() == set()


def test_without_nova_only_silence_and_strangers_are_found(stage: Stage) -> None:
    well(stage)
    stage.reports("a", "one", "two", leftovers={"backup.qcow2": GIB, reports.uuid_of("x"): GIB})
    stage.settle()
    assert len(stage.codes()) == 3
    stage.options = {"nova": False, "placement": False}
    assert stage.codes() == {("a", "", "orphan-disk-file")}
    stage.later(120)
    assert ("a", "one", "stale") in stage.codes()


# --- what was promised --------------------------------------------------------------------------


def claim(
    stage: Stage,
    claimed: int | dict[str, int],
    disks: list[Any],
    **nova: Any,
) -> dict[str, str]:
    """Words by code, of an instance with these claims and disks."""
    stage.nova("one", **nova)
    claims = claimed if isinstance(claimed, dict) else {"a": claimed}
    for name, number in claims.items():
        stage.promised(name, **({"one": number} if number else {}))
    stage.reports("a", "one", disks={"one": disks})
    stage.settle()
    # What is strange is asked for once more, before it is believed.
    stage.run()
    for name, number in claims.items():
        stage.promised(name, 2, **({"one": number} if number else {}))
    stage.settle()
    stage.run()
    return {code: found.message for (_, _, code), found in stage.findings().items()}


def test_another_claim_than_the_disks(stage: Stage) -> None:
    found = claim(stage, 40, [disk("vda", 20)])
    assert found.keys() == {"claim-mismatch"}
    assert found["claim-mismatch"].endswith("(40 GiB claimed, 20 GiB made)")


def test_nothing_claimed(stage: Stage) -> None:
    found = claim(stage, 0, [disk("vda", 20)])
    assert found["claim-mismatch"].endswith("(0 GiB claimed, 20 GiB made: nothing is claimed)")


def test_claimed_twice(stage: Stage) -> None:
    """An evacuation or a failed migration left a claim behind."""
    found = claim(stage, {"a": 20, "b": 20}, [disk("vda", 20)])
    assert found["claim-mismatch"].endswith("(40 GiB claimed, 20 GiB made: claimed of a, b)")


def right(stage: Stage, claimed: int, disks: list[Any], **nova: Any) -> None:
    """Nothing is found of this claim, and something of one that is greater."""
    assert claim(stage, claimed, disks, **nova) == {}
    assert claim(stage, claimed + 7, disks, **nova).keys() == {"claim-mismatch"}


# The traps of Nova's ledger. Each has the way in which it looks wrong and is not, and some have one
# in which two of its numbers differ by a rule.


def test_trap_boot_from_volume(stage: Stage) -> None:
    """The root disk is a volume: Nova claims none of the flavor's 20 GiB for it."""
    volume = disk("vda", 100, kind="volume")
    local = [disk("vdb", 10), disk("vdc", 1)]
    right(stage, 11, [volume, *local], ephemeral_gb=10, swap_mb=1024)


def test_trap_boot_from_volume_of_an_old_nova(stage: Stage) -> None:
    """Releases before Stein claimed the flavor's root size all the same."""
    disks = [disk("vda", 100, kind="volume"), disk("vdb", 10)]
    found = claim(stage, 30, disks, ephemeral_gb=10)
    assert found.keys() == {"claim-explained"}
    assert "the root disk is a volume, and its 20 GiB are claimed" in found["claim-explained"]


def test_trap_boot_from_volume_and_nothing_else(stage: Stage) -> None:
    right(stage, 0, [disk("vda", 100, kind="volume")])


def test_trap_swap_is_rounded_up(stage: Stage) -> None:
    """Swap is the only part in MiB; Placement counts whole GiB of the sum."""
    right(stage, 21, [disk("vda", 20), disk("vdb", 0.5)], swap_mb=512)


def test_trap_swap_that_was_not_wanted(stage: Stage) -> None:
    found = claim(stage, 22, [disk("vda", 20)], swap_mb=2048)
    assert "less swap or ephemeral disk" in found["claim-explained"]
    volumes = [disk("vda", 9, kind="volume")]
    found = claim(stage, 2, volumes, swap_mb=2048)
    assert "less swap or ephemeral disk" in found["claim-explained"]


def test_a_root_disk_that_is_too_small_is_not_explained(stage: Stage) -> None:
    found = claim(stage, 22, [disk("vda", 10), disk("vdb", 2)], swap_mb=2048)
    assert found.keys() == {"claim-mismatch"}


def test_trap_flavor_without_a_root_size(stage: Stage) -> None:
    found = claim(stage, 0, [disk("vda", 7)], root_gb=0)
    assert "the flavor has no root size" in found["claim-explained"]


def test_trap_image_cache_and_snapshots(stage: Stage) -> None:
    """What the cache and internal snapshots hold is no part of what was promised."""
    big = disk("vda", 20, backing_bytes=50 * GIB, host_allocated_bytes=70 * GIB)
    right(stage, 20, [big])


def test_trap_config_drive_and_volumes(stage: Stage) -> None:
    disks = [
        disk("vda", 20),
        disk("hda", 1, kind="config"),
        disk("hdb", 5, kind="cdrom"),
        disk("vdb", 500, kind="volume"),
    ]
    right(stage, 20, disks)


def test_trap_resize_open(stage: Stage) -> None:
    """Until it is confirmed the old claim is held too, by the migration; the instance's is new."""
    resized = {"status": "VERIFY_RESIZE", "root_gb": 40}
    stage.promised("b", migration=20)
    assert claim(stage, 40, [disk("vda", 40)], **resized) == {}
    found = claim(stage, {"a": 40, "b": 20}, [disk("vda", 40)], **resized)
    assert "a resize or migration is open" in found["claim-explained"]
    stage.nova("one", status="ACTIVE", root_gb=40)
    stage.promised("b", 3)
    stage.settle()
    assert stage.codes() == set()


def test_trap_resize_at_work(stage: Stage) -> None:
    """The claim is the new flavor's, the disks are the old one's, and Nova is about it."""
    status = {"status": "RESIZE", "task_state": "resize_migrating", "root_gb": 40}
    assert claim(stage, 40, [disk("vda", 20)], **status) == {}


def test_trap_rescue(stage: Stage) -> None:
    """A rescued instance has a disk more."""
    assert claim(stage, 20, [disk("vda", 2), disk("vdb", 20)], status="RESCUE") == {}


def test_a_size_that_is_not_known(stage: Stage) -> None:
    assert claim(stage, 40, [disk("vda", 20), disk("vdb", 1, virtual_bytes=None)]) == {}


def test_a_flavor_that_is_not_known(stage: Stage) -> None:
    found = claim(stage, 25, [disk("vda", 20)], root_gb=None, ephemeral_gb=None, swap_mb=None)
    assert found.keys() == {"claim-mismatch"}


def test_placement_that_does_not_answer_says_nothing(stage: Stage) -> None:
    well(stage)
    stage.promised("a", 2, one=40)
    stage.settle()
    stage.placement_answers = False
    assert stage.codes() == set()
    stage.placement_answers = True
    assert stage.codes() == {("a", "one", "claim-mismatch")}
    stage.promised("a", 3, one=20)
    stage.settle()
    stage.placement_answers = False
    assert stage.codes() == {("a", "one", "claim-mismatch")}, "nor is anything over"
    stage.placement_answers = True
    assert stage.codes() == set()


def test_placement_that_is_not_asked(stage: Stage) -> None:
    well(stage)
    stage.promised("a", 2, one=40)
    stage.settle()
    assert stage.codes() == {("a", "one", "claim-mismatch")}
    stage.options = {"placement": False}
    assert stage.codes() == set()


def test_what_may_have_ended_without_a_trace_is_asked_again(stage: Stage) -> None:
    """The instance moved from a to b by one write, which moves the generation of b alone."""
    well(stage)
    stage.nova("one", "b")
    stage.later(1)
    stage.promised("b", one=20)
    stage.reports("a")
    stage.reports("b", "one")
    stage.settle()
    done = stage.run()
    assert stage.findings() == {} and done.doubted == 1
    doubted = [row.name for row in look.rows(stage.engine, provider) if row.generation is None]
    assert doubted == ["a"]
    stage.promised("a")
    stage.settle()
    assert stage.codes() == set() and stage.run().doubted == 0


# --- files --------------------------------------------------------------------------------------


def test_files_of_nobody(stage: Stage) -> None:
    well(stage)
    gone = reports.uuid_of("gone")
    stage.reports(
        "a", "one", leftovers={gone: 3 * GIB, "backup.qcow2": GIB, "empty": 0, "snapshots": GIB}
    )
    stage.settle()
    since = stage.now
    stage.run()
    found = stage.findings()
    assert found.keys() == {("a", gone, "orphan-disk-file"), ("a", "", "orphan-disk-file")}
    assert found["a", gone, "orphan-disk-file"].message.endswith(
        f"({gone}: {3 * GIB} bytes: Nova does not know it)"
    )
    assert found["a", "", "orphan-disk-file"].message.endswith(f"(backup.qcow2: {GIB} bytes)")
    stage.later(1)
    stage.reports("a", "one", leftovers={gone: 4 * GIB, "x": None, "y": 5})
    stage.settle()
    assert stage.run().renewed == 2
    found = stage.findings()
    assert found["a", gone, "orphan-disk-file"].since == since, "the same, in other words"
    assert f"{4 * GIB} bytes" in found["a", gone, "orphan-disk-file"].message
    assert "(x, y: at least 5 bytes)" in found["a", "", "orphan-disk-file"].message
    stage.reports("a", "one")
    stage.settle()
    assert stage.codes() == set()


def test_many_files_are_few_words(stage: Stage) -> None:
    well(stage)
    stage.reports("a", "one", leftovers={f"f{number:03}": 1 for number in range(500)})
    stage.settle()
    assert stage.codes() == {("a", "", "orphan-disk-file")}
    words = stage.findings()["a", "", "orphan-disk-file"].message
    assert "f004 and 495 more: 500 bytes" in words


@pytest.mark.parametrize(
    "changes, suffix, codes",
    [
        # alive, here: the missing domain has a finding of its own
        ({}, "", {"instance-without-domain"}),
        ({}, "_del", {"instance-without-domain"}),
        # alive, elsewhere: left by an evacuation, or by a migration that failed
        ({"host": "b"}, "", {"orphan-disk-file"}),
        ({"host": None, "status": "SHELVED_OFFLOADED"}, "", {"orphan-disk-file"}),
        ({"host": None, "status": "ERROR"}, "", set()),
        ({"status": "BUILD", "task_state": "spawning"}, "", set()),
        ({"host": "b", "task_state": "migrating", "status": "MIGRATING"}, "", set()),
        ({"host": "never-reports"}, "", set()),
        # a resize
        ({"host": "b", "status": "VERIFY_RESIZE"}, "_resize", set()),
        ({"host": "b", "status": "RESIZE", "task_state": "resize_finish"}, "_resize", set()),
        ({"host": "b"}, "_resize", {"resize-leftover"}),
        ({"deleted": True}, "_resize", {"orphan-disk-file"}),
        ({"deleted": True}, "", {"orphan-disk-file"}),
        ({"deleted": True}, "_del", {"orphan-disk-file"}),
    ],
)
def test_files_of_an_instance(
    stage: Stage, changes: dict[str, Any], suffix: str, codes: set[str]
) -> None:
    well(stage)
    stage.reports("b")
    stage.nova("two", **changes)
    stage.reports("a", "one", leftovers={stage.uuid("two") + suffix: GIB})
    stage.settle()
    if changes.get("host") == "b" and changes.get("status", "ACTIVE") != "RESIZE":
        stage.reports("b", "two")
        stage.promised("b", two=20)
        stage.settle()
    found = stage.codes()
    assert {code for _, name, code in found if name == "two"} == codes, found
    assert all(where == "a" for where, *_ in found)


def test_a_resize_that_is_open_on_the_same_host(stage: Stage) -> None:
    stage.nova("one", status="VERIFY_RESIZE")
    stage.promised("a", one=20)
    stage.reports("a", "one", leftovers={stage.uuid("one") + "_resize": GIB})
    stage.settle()
    assert stage.codes() == set()
    stage.nova("one", status="ACTIVE")
    stage.later(1)
    stage.nova_answered()
    assert stage.codes() == set(), "the host may be at it"
    stage.settle()
    assert stage.codes() == {("a", "one", "resize-leftover")}


def test_shared_storage(stage: Stage) -> None:
    """What is one host's left-over is another one's instance, and is told once."""
    shared = {"identity": "nfs:filer:/instances"}
    gone = reports.uuid_of("gone")
    stage.nova("one")
    stage.nova("two", "b")
    stage.promised("a", one=20)
    stage.promised("b", two=20)

    def everybody(*hosts: str) -> None:
        names = {"a": "one", "b": "two"}
        for host in hosts:
            other = names["b" if host == "a" else "a"]
            leftovers = {stage.uuid(other): 20 * GIB, gone: GIB}
            stage.reports(host, names[host], leftovers=leftovers, storage=shared)

    everybody("a", "b")
    stage.settle()
    assert stage.codes() == {("a", gone, "orphan-disk-file")}
    # The first host falls silent: the second one tells.
    stage.later(120)
    everybody("b")
    stage.later(1)
    stage.nova_answered()
    codes = stage.codes()
    assert ("b", gone, "orphan-disk-file") in codes
    assert ("a", gone, "orphan-disk-file") not in codes
    stage.later(120)
    assert ("b", gone, "orphan-disk-file") in stage.codes(), "both silent: nobody knows"


@pytest.mark.parametrize("code", ["storage-scan-incomplete", "storage-unresponsive"])
def test_a_list_that_is_not_whole_ends_nothing(stage: Stage, code: str) -> None:
    well(stage)
    gone = reports.uuid_of("gone")
    stage.reports("a", "one", leftovers={gone: GIB, "backup": 1})
    stage.settle()
    before = stage.codes()
    assert len(before) == 2
    doubt = (reports.changed(reports.instance("x").disks[0].findings[0], code=code),)
    stage.reports("a", "one", storage={"findings": doubt})
    stage.settle()
    assert stage.codes() == before
    stage.reports("a", "one", storages=())
    stage.settle()
    assert stage.codes() == before, "a storage that is not there tells nothing"
    stage.reports("a", "one")
    stage.settle()
    assert stage.codes() == set()


# --- how it is written ----------------------------------------------------------------------------


def test_what_others_found_is_left_alone(stage: Stage) -> None:
    well(stage)
    stage.nova("one", root_gb=5)  # implausible
    stage.reports("a", "one", "two")
    stage.promised("a", one=20)
    stage.settle()
    stage.run()
    assert look.codes(stage.engine, "reconcile", stage.uuid("one")) >= {"host-claim-implausible"}
    agent = look.codes(stage.engine, "agent")
    stage.nova("two")
    stage.promised("a", one=20, two=20)
    stage.settle()
    assert ("a", "two", "instance-not-in-nova") not in stage.codes()
    assert look.codes(stage.engine, "reconcile", stage.uuid("one")) >= {"host-claim-implausible"}
    assert look.codes(stage.engine, "agent") == agent


def test_a_host_that_reports_meanwhile_is_left_for_the_next_pass(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    well(stage)
    stage.reports("a", "one", "two")
    stage.settle()
    real = task.Lease.hold

    def meanwhile(lease: task.Lease, connection: sa.Connection) -> None:
        monkeypatch.setattr(task.Lease, "hold", real)
        # As another process would have done it before this transaction began.
        connection.execute(sa.text("UPDATE host SET report_id = 'another'"))
        real(lease, connection)

    monkeypatch.setattr(task.Lease, "hold", meanwhile)
    done = stage.run()
    assert (done.appeared, done.left) == (1, 1)
    assert stage.findings() == {}
    assert stage.run().left == 0 and len(stage.findings()) == 1


def test_work_in_one_transaction_is_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from nova_diskaudit.reconcile import reconciliation

    monkeypatch.setattr(reconciliation, "_ROWS_AT_ONCE", 5)
    monkeypatch.setattr(reconciliation, "_HOSTS_AT_ONCE", 3)
    for number in range(8):
        stage.reports(f"h{number}", f"x{number}", f"y{number}")
    stage.settle()
    real, writes = transaction.write, []

    def write(engine: sa.Engine, work: Any) -> Any:
        with look.written(engine) as rows:
            result = real(engine, work)
        writes.append(sum(int(row.split()[-1]) for row in rows if "finding" in row))
        return result

    monkeypatch.setattr(transaction, "write", write)
    done = stage.run()
    assert done.appeared == 16 and done.hosts == 8
    assert max(writes) <= 5 and sum(writes) == 16


def test_a_lease_that_was_lost(stage: Stage) -> None:
    well(stage)
    stage.reports("a", "one", "two")
    stage.settle()
    lease = stage.lease()
    thief = task.take(
        stage.engine,
        "reconciliation",
        "thief",
        clock=lambda: stage.now + datetime.timedelta(minutes=5),
        seconds=120,
        if_due=False,
    )
    assert thief is not None
    from nova_diskaudit.reconcile import reconciliation

    with pytest.raises(task.LeaseLost):
        reconciliation.run(
            lease, nova=True, placement=True, placement_answers=True, stale_after_seconds=3600
        )
    assert stage.findings() == {}

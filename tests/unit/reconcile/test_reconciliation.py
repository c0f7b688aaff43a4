# SPDX-License-Identifier: Apache-2.0
"""What the reconciliation finds, what it takes back, and when it says nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import sqlalchemy as sa

from nova_diskaudit.reconcile import reconciliation
from nova_diskaudit.store import allocation, task
from nova_diskaudit.store import finding as store_finding
from nova_diskaudit.store.tables import finding, host, sighting
from tests import reports
from tests.unit.reconcile.rig import GIB, STALE, Rig, left, local, volume


@pytest.fixture
def rig(engine: sa.Engine) -> Rig:
    return Rig(engine)


def well(rig: Rig) -> None:
    """Two hosts with an instance each, of which everybody says the same."""
    rig.nova("one", "a")
    rig.nova("two", "b")
    rig.claims("a", one=20)
    rig.claims("b", two=20)
    rig.later()
    rig.sees("a", "one")
    rig.sees("b", "two")


def again(rig: Rig) -> None:
    """Both hosts report the same again."""
    rig.later()
    rig.sees("a", "one")
    rig.sees("b", "two")


def test_a_cloud_in_which_all_agree(rig: Rig) -> None:
    well(rig)
    done = rig.settle()
    assert (done.hosts, done.instances, done.appeared, done.left) == (2, 2, 0, 0)
    assert rig.found() == {}


# --- what Placement was promised: the traps of Nova's ledger -----------------------------------

TRAPS: dict[str, tuple[dict[str, Any], tuple[Any, ...], int, str | None]] = {
    # flavor, disks, claim, what is found
    "root and ephemeral": ({"ephemeral_gb": 20}, local("one", 20, 20), 40, None),
    "swap is rounded up in the claim": ({"swap_mb": 512}, local("one", 20, 0.5), 21, None),
    "swap and ephemeral in one": (
        {"ephemeral_gb": 5, "swap_mb": 1024},
        local("one", 20, 5, 1),
        26,
        None,
    ),
    "boot from volume claims no root": ({}, (volume("one"),), 0, None),
    "boot from volume, with swap": (
        {"swap_mb": 512},
        (volume("one"), *local("one", 0.5)),
        1,
        None,
    ),
    "boot from volume, root claimed": ({}, (volume("one"),), 20, "claim-explained"),
    "boot from volume, root and swap claimed": (
        {"swap_mb": 1024},
        (volume("one"), *local("one", 1)),
        21,
        "claim-explained",
    ),
    "a flavor without root size": ({"root_gb": 0}, local("one", 5), 0, "claim-explained"),
    "less ephemeral than allowed": (
        {"ephemeral_gb": 30},
        local("one", 20),
        50,
        "claim-explained",
    ),
    "a volume beside is nobody's claim": ({}, (*local("one", 20), volume("one")), 20, None),
    "more than claimed": ({}, local("one", 40), 20, "claim-mismatch"),
    "less than claimed": ({}, local("one", 10), 20, "claim-mismatch"),
    "nothing claimed": ({}, local("one", 20), 0, "claim-mismatch"),
    "a resize waits for its word": (
        {"status": "VERIFY_RESIZE", "root_gb": 40},
        local("one", 40),
        20,
        "claim-explained",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_of_claims(rig: Rig, trap: str) -> None:
    flavor, disks, claim, expected = TRAPS[trap]
    rig.nova("one", "a", **flavor)
    rig.claims("a", one=claim)
    rig.later()
    rig.sees("a", "one", one={"disks": disks})
    rig.settle()
    assert rig.codes("one") == ({expected} if expected is not None else set())


def test_a_disk_of_unknown_size_says_nothing_of_the_claim(rig: Rig) -> None:
    rig.nova("one", "a")
    rig.claims("a", one=99)
    rig.later()
    rig.sees("a", "one", one={"disks": (reports.disk("vda", virtual_bytes=None),)})
    rig.settle()
    assert rig.codes("one") == set()


def test_two_promises_of_one_resize(rig: Rig) -> None:
    rig.nova("one", "b", status="VERIFY_RESIZE", other_host="a")
    rig.claims("a", one=20)
    rig.claims("b", one=20)
    rig.later()
    rig.sees("a")
    rig.sees("b", "one")
    rig.settle()
    assert rig.codes("one") == {"claim-explained"}
    rig.nova("one", "b")
    rig.later()
    rig.sees("a")
    rig.sees("b", "one")
    rig.settle()
    # The old promise was never ended.
    assert rig.codes("one") == {"claim-mismatch"}
    rig.claims("a", one=0)
    rig.later()
    rig.sees("b", "one")
    rig.settle()
    assert rig.codes("one") == set()


def test_a_promise_that_was_told_before_nova_spoke_is_asked_for_again(rig: Rig) -> None:
    rig.claims("a", one=20)
    rig.placement_answers()
    rig.later()
    rig.nova("one", "a", root_gb=40)
    rig.later()
    rig.sees("a", "one", one={"disks": local("one", 40)})
    rig.later(1)
    allocation.completed(rig.lease("placement"), begun=int(rig.now.timestamp() * 1e6))
    rig.later(1)
    rig.nova_answers()
    done = rig.compare()
    assert (done.doubted, rig.codes("one")) == (1, set())
    (provider,) = allocation.providers(rig.engine).values()
    assert provider.generation is None


def test_while_placement_is_away_nothing_appears_and_nothing_is_taken_back(rig: Rig) -> None:
    rig.nova("one", "a")
    rig.nova("two", "a")
    rig.claims("a", one=10, two=20)
    rig.later()
    rig.sees("a", "one", "two")
    rig.settle()
    assert (rig.codes("one"), rig.codes("two")) == ({"claim-mismatch"}, set())
    rig.claims("a", one=20, two=10)
    rig.settle(placement_answers=False)
    assert (rig.codes("one"), rig.codes("two")) == ({"claim-mismatch"}, set())
    rig.later()
    rig.sees("a", "one", "two")
    rig.settle()
    assert (rig.codes("one"), rig.codes("two")) == (set(), {"claim-mismatch"})


# --- where instances are --------------------------------------------------------------------------


def test_an_instance_without_its_domain(rig: Rig) -> None:
    well(rig)
    rig.later()
    rig.sees("a")
    rig.settle()
    assert rig.codes("one") == {"instance-without-domain"}
    again(rig)
    rig.settle()
    assert rig.found() == {}


@pytest.mark.parametrize("status", ["BUILD", "SHELVED_OFFLOADED", "ERROR", "MIGRATING"])
def test_an_instance_that_needs_no_domain(rig: Rig, status: str) -> None:
    rig.nova("one", "a", status=status)
    rig.later()
    rig.sees("a")
    rig.settle()
    assert rig.found() == {}


def test_a_domain_that_nova_does_not_know(rig: Rig) -> None:
    rig.later()
    rig.sees("a", "one", "foreign", foreign={"project_id": None})
    # Nova was not asked since: it may only not have been heard yet.
    rig.compare()
    assert rig.found() == {}
    rig.settle()
    assert rig.codes("one") == {"instance-not-in-nova"}
    assert rig.codes("foreign") == set()
    rig.nova("one", "a")
    rig.later()
    rig.sees("a", "one", "foreign", foreign={"project_id": None})
    rig.claims("a", one=20)
    rig.settle()
    assert rig.found() == {}


def test_a_domain_that_outlives_its_instance(rig: Rig) -> None:
    well(rig)
    rig.settle()
    rig.deletes("one")
    # The host's report is of before: its domain may be gone by now.
    rig.settle()
    assert rig.found() == {}
    again(rig)
    rig.settle()
    assert rig.codes("one") == {"instance-not-in-nova"}


def test_on_two_hosts(rig: Rig) -> None:
    rig.nova("one", "a")
    rig.claims("a", one=20)
    rig.later()
    rig.sees("a", "one")
    rig.sees("b", "one")
    rig.settle()
    assert rig.codes("one", on="a") == {"instance-on-two-hosts"}
    assert rig.codes("one", on="b") == {"instance-on-two-hosts"}
    rig.later()
    rig.sees("a", "one")
    rig.sees("b")
    rig.settle()
    assert rig.found() == {}


def test_while_it_moves_it_may_be_on_both(rig: Rig) -> None:
    rig.nova("one", "a", status="MIGRATING", task_state="migrating", other_host="b")
    rig.later()
    rig.sees("a", "one")
    rig.sees("b", "one")
    rig.settle()
    assert rig.found() == {}


def test_after_an_evacuation(rig: Rig) -> None:
    rig.nova("one", "b")
    rig.later()
    rig.sees("a", "one")
    rig.settle(placement=False)
    # b does not report at all.
    assert rig.codes("one") == {"instance-elsewhere"}


def test_a_stale_host_says_nothing_about_others(rig: Rig) -> None:
    rig.nova("one", "a")
    rig.claims("a", one=20)
    rig.later()
    rig.sees("b", "one")
    rig.later(59)
    rig.sees("a", "one")
    rig.later(10)
    rig.settle()
    assert rig.codes("one", on="a") == set()
    assert rig.codes("one", on="b") == {"stale"}
    assert rig.codes(None, on="b") == {"stale"}


# --- time ---------------------------------------------------------------------------------------


def test_stale_comes_and_goes(rig: Rig) -> None:
    well(rig)
    rig.settle()
    rig.later(61)
    rig.settle()
    assert rig.codes("one") == {"stale"} and rig.codes(None) == {"stale"}
    again(rig)
    rig.settle()
    assert rig.found() == {}


def test_without_nova_only_age_is_judged(rig: Rig) -> None:
    rig.sees("a", "one", left=[left(reports.uuid_of("x")), left("stray.qcow2")])
    rig.later(61)
    rig.compare(nova=False, placement=False)
    assert rig.codes("one") == {"stale"}


def test_what_stays_keeps_its_beginning_and_is_not_written_again(rig: Rig) -> None:
    well(rig)
    rig.later()
    rig.sees("a")
    assert rig.settle().appeared == 1
    with rig.engine.connect() as connection:
        before = connection.execute(sa.select(finding)).all()
    rig.later()
    done = rig.compare()
    assert (done.appeared, done.renewed, done.cleared) == (0, 0, 0)
    with rig.engine.connect() as connection:
        assert connection.execute(sa.select(finding)).all() == before


def test_findings_of_agents_are_not_touched(rig: Rig) -> None:
    well(rig)
    statement = sa.select(finding).where(finding.c.origin == "agent")
    with rig.engine.connect() as connection:
        before = connection.execute(statement).all()
    rig.later(61)
    rig.settle()
    with rig.engine.connect() as connection:
        assert before and connection.execute(statement).all() == before


def test_a_reader_finds_the_codes_beside_the_instance(rig: Rig) -> None:
    well(rig)
    rig.later(61)
    rig.settle()
    with rig.engine.connect() as connection:
        assert set(connection.scalars(sa.select(sighting.c.service_codes))) == {"stale"}
        assert set(connection.scalars(sa.select(host.c.service_codes))) == {"stale"}


def test_a_host_that_reports_meanwhile_is_left(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    well(rig)
    rig.later()
    rig.sees("a")
    real = store_finding.settle

    def settle(lease: task.Lease, changes: Iterable[store_finding.Settled]) -> int:
        with rig.engine.begin() as connection:
            connection.execute(sa.update(host).where(host.c.name == "a").values(report_id="newer"))
        return real(lease, changes)

    monkeypatch.setattr(store_finding, "settle", settle)
    assert rig.settle().left == 1
    assert rig.found() == {}


# --- files --------------------------------------------------------------------------------------

ONE = reports.uuid_of("one")


def test_files_that_belong_to_nobody(rig: Rig) -> None:
    well(rig)
    rig.deletes("two")
    rig.later()
    unknown = reports.uuid_of("unknown")
    files = [
        left("backup.qcow2", 5 * GIB),
        left(reports.uuid_of("two")),
        left(unknown, 3 * GIB),
        left("empty", 0),
    ]
    rig.sees("a", "one", left=files)
    rig.settle()
    found = {key: words for key, words in rig.found().items() if key[2] == "orphan-disk-file"}
    assert set(found) == {
        ("a", about, "orphan-disk-file") for about in ("", unknown, reports.uuid_of("two"))
    }
    assert f"backup.qcow2: {5 * GIB} bytes" in found["a", "", "orphan-disk-file"]
    assert f"{3 * GIB} bytes: Nova does not know it" in found["a", unknown, "orphan-disk-file"]
    rig.later()
    rig.sees("a", "one")
    rig.settle()
    assert rig.codes(None) == set() and rig.codes("unknown") == set()


def test_the_old_disks_of_a_resize(rig: Rig) -> None:
    rig.nova("one", "a", status="VERIFY_RESIZE")
    rig.claims("a", one=20)
    rig.later()
    rig.sees("a", "one", left=[left(f"{ONE}_resize")])
    rig.settle()
    # It is open: they are what a revert needs.
    assert rig.codes("one") == set()
    rig.nova("one", "a")
    rig.later()
    rig.sees("a", "one", left=[left(f"{ONE}_resize")])
    rig.settle()
    assert rig.codes("one") == {"resize-leftover"}
    rig.later()
    rig.sees("a", "one")
    rig.settle()
    assert rig.codes("one") == set()


def test_on_a_shared_storage_a_directory_is_its_owners_wherever_he_runs(rig: Rig) -> None:
    rig.nova("one", "b")
    rig.claims("b", one=20)
    rig.later()
    rig.sees("a", left=[left(ONE)], shared="nfs:store")
    rig.sees("b", "one", left=[left(ONE)], shared="nfs:store")
    rig.settle()
    assert rig.found() == {}
    rig.later()
    rig.sees("a", left=[left(ONE)])
    rig.sees("b", "one")
    rig.settle()
    assert rig.codes("one") == {"orphan-disk-file"}


def test_a_list_that_is_not_whole_clears_nothing(rig: Rig) -> None:
    well(rig)
    rig.later()
    rig.sees("a", "one", left=[left("stray")])
    rig.settle()
    assert rig.codes(None) == {"orphan-disk-file"}
    rig.later()
    rig.sees("a", "one", unread=True)
    rig.settle()
    assert rig.codes(None) == {"orphan-disk-file"}


# --- who runs it ----------------------------------------------------------------------------------


def test_a_second_process_takes_over(rig: Rig) -> None:
    """The first one was killed in the middle of a pass: its lease ends by itself."""
    well(rig)
    rig.later()
    rig.sees("a")
    rig.lease()
    rig.holder = "another process"
    with pytest.raises(AssertionError):
        rig.settle()
    rig.later(1)
    rig.settle()
    assert rig.codes("one") == {"instance-without-domain"}


def test_who_lost_the_lease_writes_nothing(rig: Rig) -> None:
    well(rig)
    rig.later()
    rig.sees("a")
    mine = rig.lease()
    rig.later(3)
    rig.holder = "another process"
    rig.lease()
    rig.nova_answers()
    with pytest.raises(task.LeaseLost):
        reconciliation.run(
            mine, nova=True, placement=False, placement_answers=False, stale_after_seconds=STALE
        )
    assert rig.found() == {}


def test_a_process_that_is_told_to_end_breaks_off(rig: Rig) -> None:
    well(rig)
    found = task.take(
        rig.engine,
        "reconciliation",
        "me",
        clock=lambda: rig.now,
        seconds=120,
        if_due=False,
        stop=lambda: True,
    )
    assert found is not None
    with pytest.raises(task.Stopped):
        reconciliation.run(
            found, nova=True, placement=False, placement_answers=False, stale_after_seconds=STALE
        )


def test_many_hosts_are_written_in_parts(rig: Rig) -> None:
    for number in range(120):
        rig.nova(f"i{number}", f"h{number}")
    rig.later()
    for number in range(120):
        rig.sees(f"h{number}")
    done = rig.settle(placement=False)
    assert (done.hosts, done.appeared) == (120, 120)
    done = rig.settle(placement=False)
    assert (done.hosts, done.appeared, done.renewed, done.cleared) == (120, 0, 0, 0)

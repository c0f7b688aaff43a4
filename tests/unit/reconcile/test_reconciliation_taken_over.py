# SPDX-License-Identifier: Apache-2.0
"""Who does the reconciliation, when processes die or are told to end."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from nova_diskaudit.reconcile import reconciliation
from nova_diskaudit.store import task
from tests.unit.reconcile.rig import STALE, Rig


@pytest.fixture
def rig(engine: sa.Engine) -> Rig:
    return Rig(engine)


def well(rig: Rig) -> None:
    rig.nova("one", "a")
    rig.later()
    rig.sees("a", "one")


def test_a_second_process_takes_over(rig: Rig) -> None:
    """The first one was killed in the middle of a pass: its lease ends by itself."""
    well(rig)
    rig.later()
    rig.sees("a")
    rig.lease()
    rig.holder = "another process"
    with pytest.raises(AssertionError):
        rig.settle(placement=False)
    rig.later(1)
    rig.settle(placement=False)
    assert rig.codes("one") == {"instance-without-domain"}


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

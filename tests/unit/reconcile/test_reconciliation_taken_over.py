# SPDX-License-Identifier: Apache-2.0
"""Who does the reconciliation, when processes die or are told to end."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from nova_diskaudit.reconcile import reconciliation
from nova_diskaudit.store import task
from tests.unit.reconcile.stage import STALE_SECONDS, Stage


@pytest.fixture
def alone(engine: sa.Engine) -> Stage:
    """Without a Placement."""
    made = Stage(engine)
    made.options = {"placement": False}
    return made


def test_a_second_process_takes_over(alone: Stage) -> None:
    """The first one was killed in the middle of a pass: its lease ends by itself."""
    alone.nova("one")
    alone.later(5)
    alone.reports("a")
    alone.settle()
    alone.lease()
    alone.holder = "another process"
    with pytest.raises(AssertionError):
        alone.run()
    alone.later(3)
    assert alone.codes() == {("a", "one", "instance-without-domain")}


def test_a_process_that_is_told_to_end_breaks_off(alone: Stage) -> None:
    alone.reports("a", "one")
    found = task.take(
        alone.engine,
        "reconciliation",
        "me",
        clock=lambda: alone.now,
        seconds=120,
        if_due=False,
        stop=lambda: True,
    )
    assert found is not None
    with pytest.raises(task.Stopped):
        reconciliation.run(
            found,
            nova=True,
            placement=False,
            placement_answers=False,
            stale_after_seconds=STALE_SECONDS,
        )


def test_many_hosts_are_written_in_parts(alone: Stage) -> None:
    for number in range(120):
        alone.nova(f"i{number}", f"h{number}")
    alone.later(5)
    for number in range(120):
        alone.reports(f"h{number}")
    alone.settle()
    done = alone.run()
    assert (done.hosts, done.appeared) == (120, 120)
    alone.settle()
    done = alone.run()
    assert (done.hosts, done.appeared, done.renewed, done.cleared) == (120, 0, 0, 0)

# SPDX-License-Identifier: Apache-2.0
"""Who does the reconciliation, when processes die or are told to end."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from nova_diskaudit.reconcile import reconciliation
from nova_diskaudit.store import task
from tests.unit.reconcile.stage import STALE_SECONDS, Stage


@pytest.fixture
def stage(engine: sa.Engine) -> Stage:
    made = Stage(engine)
    made.options = {"placement": False}
    return made


def test_a_second_process_takes_over(stage: Stage) -> None:
    """The first one was killed in the middle of a pass: its lease ends by itself."""
    stage.nova("one")
    stage.later(5)
    stage.reports("a")
    stage.settle()
    stage.lease()
    stage.holder = "another process"
    with pytest.raises(AssertionError):
        stage.run()
    stage.later(3)
    assert stage.codes() == {("a", "one", "instance-without-domain")}


def test_a_process_that_is_told_to_end_breaks_off(stage: Stage) -> None:
    stage.reports("a", "one")
    found = task.take(
        stage.engine,
        "reconciliation",
        "me",
        clock=lambda: stage.now,
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


def test_many_hosts_are_written_in_parts(stage: Stage) -> None:
    for number in range(120):
        stage.nova(f"i{number}", f"h{number}")
    stage.later(5)
    for number in range(120):
        stage.reports(f"h{number}")
    stage.settle()
    done = stage.run()
    assert (done.hosts, done.appeared) == (120, 120)
    stage.settle()
    done = stage.run()
    assert (done.hosts, done.appeared, done.renewed, done.cleared) == (120, 0, 0, 0)

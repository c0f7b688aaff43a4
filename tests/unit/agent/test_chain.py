# SPDX-License-Identifier: Apache-2.0
"""Nothing is lost, doubled or out of order, whatever happens: see :mod:`chain_model`.

``NOVA_DISKAUDIT_WALKS`` sets the number of walks (20,000 were done when the rules were written).
"""

from __future__ import annotations

import datetime
import logging
import os

import msgspec
import pytest

from tests.contract import reports
from tests.servers.ledger import Link, problems
from tests.unit.agent import chain_model

WALKS = int(os.environ.get("NOVA_DISKAUDIT_WALKS", "200"))
# Everything that a walk can meet; fewer walks than the default may miss some of it.
_MET = (
    "a full report",
    "a delta report",
    "killed before a commit",
    "killed after a commit",
    "killed before a request",
    "killed before an answer",
    "request late",
    "request lost",
    "request doubled",
    "request answer lost",
    "request poisoned",
    "request refused for now",
    "answered 200 ",
    "answered 409 report-chain",
    "answered 409 host-held",
    "late one answered 200 ",
    "late one answered 409 report-chain",
    "restore",
    "states thinned",
    "states rejected",
)


def test_nothing_is_lost_doubled_or_out_of_order(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "nova_diskaudit.agent")
    happened = chain_model.run(WALKS)
    missing = [what for what in _MET if not happened[what]]
    assert not missing or WALKS < 200, missing


# --- the judge of the walks is judged ---------------------------------------------------------


def link(id: str, replaces: str | None, *, agent: str | None = "a", minute: int = 0) -> Link:
    return Link(
        seq=0,
        host="h",
        id=id,
        replaces=replaces,
        kind="demand" if agent is None else "full",
        agent=agent,
        as_of=reports.NOON + datetime.timedelta(minutes=minute) if agent is not None else None,
        received_at=reports.NOON,
        instances=0,
    )


CHAIN = [link("1", None), link("2", "1", minute=1), link("3", "2", minute=1)]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], None),
        ([link("4", "3", minute=2)], None),
        ([link("4", "2", minute=2)], "another stood"),
        ([link("4", None, minute=2)], "another stood"),
        ([link("4", "3", minute=0)], "older"),
        ([link("2", "3", minute=1)], "twice"),
        ([link("3", "3", minute=1)], "twice"),
        ([link("x", "3", agent="b", minute=-9)], None),
        ([link("x", "3", agent="b"), link("3", "x", minute=1)], None),
        # What "a" had sent before "b" came may be accepted again, and nothing else.
        ([link("x", "3", agent="b"), link("2", "x", minute=1), link("3", "2", minute=1)], None),
        ([link("x", "3", agent="b"), link("4", "x", minute=2), link("4", "4", minute=2)], "twice"),
        ([link("x", "3", agent="b"), link("1", "x", agent="b")], "twice"),
        ([link("y", "3", agent=None), link("3", "y", minute=1)], None),
        ([link("y", "3", agent=None), link("4", "3", minute=1)], "another stood"),
    ],
)
def test_what_is_wrong_with_a_chain(more: list[Link], says: str | None) -> None:
    numbered = [msgspec.structs.replace(one, seq=seq) for seq, one in enumerate(CHAIN + more)]
    found = problems(numbered)
    assert (not found) if says is None else any(says in one for one in found)

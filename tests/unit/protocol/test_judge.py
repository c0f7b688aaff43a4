# SPDX-License-Identifier: Apache-2.0
"""The chain rule, one decision at a time."""

from __future__ import annotations

import datetime

import pytest

from nova_diskaudit import protocol
from tests.contract import reports

TAKEOVER = 900.0
NOW = reports.NOON
CURRENT, BEFORE, NEXT = reports.uuid_of(1), reports.uuid_of(2), reports.uuid_of(3)


def row(age: float = 10, agent: str = reports.AGENT) -> protocol.Row:
    received_at = NOW - datetime.timedelta(seconds=age)
    return protocol.Row(report_id=CURRENT, agent=agent, received_at=received_at)


def judge(known: protocol.Row | None, id: str, replaces: str | None) -> protocol.Judgement:
    report = reports.full(reports.state(id=id), replaces)
    return protocol.judge(known, report, now=NOW, takeover_after_seconds=TAKEOVER)


@pytest.mark.parametrize(
    ("known", "id", "replaces", "expected"),
    [
        (None, NEXT, None, protocol.Accepted()),
        (None, NEXT, BEFORE, protocol.ChainBroken(None)),
        (row(), NEXT, CURRENT, protocol.Accepted()),
        (row(), NEXT, BEFORE, protocol.ChainBroken(CURRENT)),
        (row(), NEXT, None, protocol.ChainBroken(CURRENT)),
        (row(), BEFORE, None, protocol.ChainBroken(CURRENT)),
        (row(), CURRENT, BEFORE, protocol.Replay()),
        (row(), CURRENT, None, protocol.Replay()),
        (row(age=10**9), NEXT, CURRENT, protocol.Accepted()),
        # Another agent's row.
        (row(0, reports.OTHER_AGENT), NEXT, CURRENT, protocol.Held(901)),
        (row(0, reports.OTHER_AGENT), NEXT, BEFORE, protocol.Held(901)),
        (row(0, reports.OTHER_AGENT), CURRENT, BEFORE, protocol.Replay()),
        (row(899.5, reports.OTHER_AGENT), NEXT, CURRENT, protocol.Held(1)),
        (row(900, reports.OTHER_AGENT), NEXT, CURRENT, protocol.Accepted()),
        (row(900, reports.OTHER_AGENT), NEXT, BEFORE, protocol.ChainBroken(CURRENT)),
    ],
)
def test_the_rules_in_their_order(
    known: protocol.Row | None, id: str, replaces: str | None, expected: protocol.Judgement
) -> None:
    assert judge(known, id, replaces) == expected

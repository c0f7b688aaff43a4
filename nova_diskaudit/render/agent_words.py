# SPDX-License-Identifier: Apache-2.0
"""What stands above the table when it is the agent's: how old it is, and who is left alone."""

from __future__ import annotations

import datetime

from nova_diskaudit.health import AgentStatus
from nova_diskaudit.record import HostReport
from nova_diskaudit.text import duration, moment, printable

_CELL_LIMIT = 48


def preamble(agent: AgentStatus, report: HostReport | None, now: datetime.datetime) -> str:
    """Some lines and an empty one; ``report`` is the agent's newest."""
    lines = [f"from the agent of {printable(agent.host)}, release {printable(agent.version)}"]
    if report is not None:
        age = duration((now - report.as_of).total_seconds())
        lines[0] += f": the report is {age} old, of cycle {agent.cycle.number}"
    if agent.cycle.failed is not None:
        lines.append(f"the last cycle failed: {printable(agent.cycle.failed, 400)}")
    lines += [
        f"left alone: {printable(one.domain, _CELL_LIMIT)} {printable(one.uuid)} ({one.part}) "
        f"since {moment(one.since)}: {printable(one.code)}, missed {one.failures} times; "
        f"next try {moment(one.next_try)}"
        for one in agent.quarantine
    ]
    return "\n".join(lines) + "\n\n"

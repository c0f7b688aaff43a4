# SPDX-License-Identifier: Apache-2.0
"""What the doctor found, as lines for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from nova_diskaudit.text import printable


class _Check(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def action(self) -> str: ...


def render(checks: Iterable[_Check]) -> str:
    """One line a check, and one more for what to do."""
    lines = []
    for one in checks:
        lines.append(f"{one.outcome:8} {printable(one.name)}: {printable(one.detail, 400)}")
        if one.action:
            lines.append(f"{'':8} -> {printable(one.action, 400)}")
    return "\n".join(lines) + "\n"

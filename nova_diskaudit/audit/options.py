# SPDX-License-Identifier: Apache-2.0
"""What a sweep is asked to do, and the one way it can fail as a whole."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import msgspec


class AuditError(Exception):
    """The sweep cannot begin; the message is one line that says what to do."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to sweep, and how long it may take (seconds).

    ``instances`` are UUIDs or domain names; empty means all. ``path_map`` are pairs of prefixes:
    a path of the domain XML and where this process finds it. ``progress`` is told a phase, how
    many domains are done and how many there are, from any thread.
    """

    uri: str
    instances: tuple[str, ...] = ()
    ask_guests: bool = True
    timeout: float = 60.0
    path_map: tuple[tuple[str, str], ...] = ()
    instances_path: str | None = None
    managed_save_path: str | None = None
    state_path: pathlib.Path | None = None
    agent_timeout: float = 3.0
    progress: Callable[[str, int, int], None] | None = None

# SPDX-License-Identifier: Apache-2.0
"""What a sweep is asked to do, and the one way it can fail as a whole."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from nova_diskaudit.conf import Settings


class AuditError(Exception):
    """The sweep cannot begin; the message is one line that says what to do."""


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that a healthy host needs a small fraction of; a miss costs as much, once.

    ``inventory``: the list of domains. ``describe``: one domain's XML. ``storage``: a stat takes
    microseconds, on NFS under load milliseconds. ``evidence``: block stats of a few domains.
    ``agent``: one answer of a guest agent, beyond libvirt's own synchronisation with it.
    ``scan``: walking the image cache of a large host.
    """

    inventory: float = 15.0
    describe: float = 3.0
    storage: float = 2.0
    evidence: float = 5.0
    agent: float = 3.0
    scan: float = 10.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to sweep, and how long it may take (seconds).

    ``instances`` are UUIDs or domain names; empty means all. ``ask_evidence``: libvirt's own block
    numbers, which explain what others print and what only QEMU can tell. ``path_map`` are pairs of
    prefixes: a path of the domain XML and where this process finds it. ``progress`` is told a
    phase, how many domains are done and how many there are, from any thread.
    """

    uri: str
    instances: tuple[str, ...] = ()
    ask_guests: bool = True
    ask_evidence: bool = True
    timeout: float = 60.0
    path_map: tuple[tuple[str, str], ...] = ()
    instances_path: str | None = None
    managed_save_path: str | None = None
    state_path: pathlib.Path | None = None
    deadlines: Deadlines = Deadlines()
    progress: Callable[[str, int, int], None] | None = None


def from_settings(settings: Settings) -> Options:
    """A sweep over the whole host, as it is configured."""
    return Options(
        uri=settings.uri,
        ask_guests=settings.ask_guests,
        ask_evidence=settings.ask_evidence,
        timeout=settings.timeout,
        path_map=settings.path_map,
        instances_path=settings.instances_path,
        managed_save_path=settings.managed_save_path,
        state_path=pathlib.Path(settings.state_path) if settings.state_path else None,
        deadlines=Deadlines(
            inventory=settings.inventory_timeout,
            describe=settings.describe_timeout,
            storage=settings.storage_timeout,
            evidence=settings.evidence_timeout,
            agent=settings.agent_timeout,
        ),
    )

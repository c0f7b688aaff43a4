# SPDX-License-Identifier: Apache-2.0
"""Ours, of this tree: ``nova-diskaudit audit``, a process each time, and the agent's cycles."""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import sys
from typing import Any

import msgspec

from nova_diskaudit.agent.reader import AgentUnreachable
from tests.bench.peers.peer import PATIENCE_SECONDS, Answers, Command, Look, PeerError, Scene, ran
from tests.bench.processes import clock_seconds, tree
from tests.bench.subject import Agent, SubjectError

_TOOL = os.path.join(os.path.dirname(sys.executable), "nova-diskaudit")
_NEVER = 1_000_000
_CYCLES = 5
# Full cycles every two seconds for a hundred domains, so that one has ended when the next begins.
_DOMAINS_A_SECOND = 50


def version() -> str:
    """That of this tree, as pbr counts it from git."""
    return ran(_TOOL, "--version").strip()


def _answers(instances: list[dict[str, Any]]) -> Answers:
    return {
        (instance["domain"], disk["target"]): {
            field: disk[field]
            for field in ("host_allocated_bytes", "guest_used_bytes")
            if disk[field] is not None
        }
        for instance in instances
        for disk in instance["disks"]
    }


class Audit(Command):
    """The command as an operator runs it, with or without the guests.

    Of one domain it costs little more than its start.
    """

    held = ("host_allocated_bytes",)
    harmless = (0, 1)  # 1: some instance could not be audited, and is listed with the reason

    def __init__(self, *, guests: bool, instance: str = "") -> None:
        """:param instance: the only one that is looked at; all when empty."""
        self.name = (
            "audit" + ("" if guests else " --no-guest") + (", one domain" if instance else "")
        )
        self.used = ("guest_used_bytes",) if guests else ()
        self._options = (
            *(() if guests else ("--no-guest",)),
            *(("--instance", instance) if instance else ()),
        )

    def version(self) -> str:
        return version()

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        uri = scene.hypervisor.uri
        self.command = (_TOOL, "audit", "--connect", uri, *self._options, "--format", "json")

    def read(self, said: str) -> Answers:
        return _answers(json.loads(said)["instances"]) if said else {}


class Cycle:
    """The real agent; a look is a cycle of it, with guests, and the mean of several in a row.

    ``full``: everybody is looked at. Quiet: nothing has changed since, as in eleven of twelve
    cycles of a host on which nobody writes.
    Its answers are those whose facts the last cycle has renewed.
    """

    held = ("host_allocated_bytes",)

    def __init__(self, *, full: bool, evidence: bool = True, guests: bool = True) -> None:
        kind = "full cycle" if full else "quiet cycle"
        left_out = ["evidence"] * (not evidence) + ["guests"] * (not guests)
        self.name = f"agent, {kind}" + (" without " + " and ".join(left_out)) * bool(left_out)
        self.used = ("guest_used_bytes",) if guests else ()
        self._full = full
        self._evidence = evidence
        self._guests = guests
        self._agent: Agent | None = None

    def version(self) -> str:
        return version()

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        domains = len(scene.uuids)
        interval = max(1, domains // _DOMAINS_A_SECOND) if self._full else 1
        options = {
            "agent": {"interval": interval, "full_cycles": 1 if self._full else _NEVER},
            "audit": {"evidence": self._evidence},
            "guest": {"enabled": self._guests},
        }
        self._agent = Agent(scene.hypervisor.uri, directory, options)
        self._agent.start()
        try:
            self._agent.cycles_ended(2)
            # An image that was written is not quiet for two seconds.
            left = 10
            while not self._full and self._agent.shown().agent.cycle.quiet < domains:
                self._agent.cycles_ended(1)
                left -= 1
                if not left:
                    raise PeerError("the host is not quiet")
        except (SubjectError, PeerError) as error:
            self.stop()
            raise PeerError(str(error)) from None

    def look(self, patience: float = PATIENCE_SECONDS) -> Look:
        assert self._agent is not None
        spent, seconds = 0.0, []
        try:
            for _ in range(_CYCLES):
                self._agent.forget()
                pids = self.pids()
                before = clock_seconds(pids)
                self._agent.cycles_ended(1, patience)
                spent += clock_seconds(pids) - before
                # What telling costs is not what looking costs.
                shown = self._agent.shown()
                seconds.append(shown.agent.cycle.seconds or 0.0)
        except (SubjectError, AgentUnreachable) as error:
            return Look("", patience, None, 1, str(error).splitlines()[0])
        report, began = shown.report, shown.agent.cycle.started_at
        assert report is not None and began is not None
        fresh = [one for one in report.instances if one.as_of >= began]
        said = msgspec.json.encode(fresh).decode()
        return Look(said, statistics.mean(seconds), spent / _CYCLES, _CYCLES)

    def read(self, said: str) -> Answers:
        return _answers(json.loads(said)) if said else {}

    def pids(self) -> set[int]:
        return tree(self._agent.pid) if self._agent is not None else set()

    def stop(self) -> None:
        if self._agent is not None:
            self._agent.abandon()
            self._agent = None

# SPDX-License-Identifier: Apache-2.0
"""Lanes that answer like a healthy host, except where a test says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nova_diskaudit.facts import (
    Control,
    Domain,
    HostInfo,
    InstancesDirectory,
    Listed,
    Mount,
    Process,
    StatsAnswer,
    StorageFacts,
)
from nova_diskaudit.lane import operations
from nova_diskaudit.lane.errors import DeadlineMissed, LaneError
from tests.unit.engine.builders import disk, domain, facts, layer, stats

MOUNTS = [
    Mount(path="/", fs_type="ext4", source="/dev/root", device="1:1"),
    Mount(path="/mnt/dead", fs_type="nfs4", source="nas:/x", device="0:9"),
]
REPLIES = {
    "guest-info": b'{"return":{"version":"7.2"}}',
    "guest-get-fsinfo": b'{"return":[]}',
}


class Lanes:
    """Answers like a healthy host, except where a test says otherwise."""

    def __init__(self, *domains: Domain) -> None:
        self.domains = {d.uuid: d for d in domains}
        self.calls: list[tuple[str, str | None]] = []
        self.faults: dict[str, Callable[..., Any]] = {}
        self.stuck: set[str] = set()

    def call_each(
        self,
        operation: Any,
        things: Sequence[tuple[Any, ...]],
        *,
        deadline: float,
        subjects: Sequence[str | None],
        all_seconds: float,
    ) -> list[Any]:
        """As the real one: it ends behind the first that is not answered in time."""
        outcomes: list[Any] = []
        for arguments, subject in zip(things, subjects, strict=True):
            outcomes.append(self._outcome(operation, arguments, subject))
            if isinstance(outcomes[-1], DeadlineMissed):
                break
        return outcomes

    def _outcome(self, operation: Any, arguments: tuple[Any, ...], subject: str | None) -> Any:
        if operation is operations.BLOCK_STATS:
            self.calls += [(operation.name, uuid) for uuid, _ in arguments[0]]
        else:
            self.calls.append((operation.name, subject))
        fault = self.faults.get(operation.name)
        answer = None if fault is None else fault(*arguments)
        if isinstance(answer, Exception) and not isinstance(answer, LaneError):
            raise answer
        return getattr(self, operation.name)(*arguments) if answer is None else answer

    def asked(self, operation: Any) -> list[str | None]:
        return [subject for name, subject in self.calls if name == operation.name]

    def unanswered(self) -> frozenset[str]:
        return frozenset()

    def warm_up(self, *_: str) -> None:
        pass

    def mounts(self) -> list[Mount]:
        return MOUNTS

    def processes(self) -> dict[str, Process]:
        return {uuid: Process(pid=7, start_ticks=1) for uuid in self.domains}

    def host_info(self) -> HostInfo:
        return HostInfo(hostname="node-1", libvirt_version="9.0.0")

    def list_states(self) -> list[Listed]:
        return [
            Listed(uuid=d.uuid, name=d.name, number=1, state=(1, 1)) for d in self.domains.values()
        ]

    def describe(self, uuid: str) -> Domain:
        return self.domains[uuid]

    def probe_layers(self, layers: list[Any], _process: Any, _map: Any) -> list[Any]:
        return [facts(identity=f"file:{each.source}") for each in layers]

    def status_files(self, domains: list[Any]) -> list[None]:
        return [None] * len(domains)

    def filesystem(self, path: str) -> StorageFacts:
        return StorageFacts(
            identity="local:1",
            kind="local",
            path="/",
            fs_type="ext4",
            total_bytes=100,
            free_bytes=50,
            inodes_free=5,
        )

    def instances_directory(self, path: str, _uuids: Any) -> InstancesDirectory:
        return InstancesDirectory(image_cache_bytes=7, leftovers=(), complete=True)

    def block_stats(self, members: list[tuple[str, Process]]) -> dict[str, Any]:
        return {uuid: self.answer(uuid) for uuid, _ in members}

    def answer(self, uuid: str) -> StatsAnswer:
        disks = self.domains[uuid].disks
        return StatsAnswer(disks={d.target: stats(2 * 2**30, 0, 100 * 2**20) for d in disks})

    def control(self, uuid: str, _process: Process) -> Control:
        busy = uuid in self.stuck
        return Control(state="busy" if busy else "ok", milliseconds=9000 if busy else 0)

    def agent(self, _uuid: str, command: str, _timeout: int) -> bytes:
        return next(reply for name, reply in REPLIES.items() if name in command)


def guest(number: int, path: str = "/images/%d.raw", **changes: Any) -> Domain:
    return domain(
        disk(layers=(layer(source=path % number),)),
        uuid=f"00000000-0000-0000-0000-{number:012d}",
        name=f"instance-{number}",
        **changes,
    )

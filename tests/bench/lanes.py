# SPDX-License-Identifier: Apache-2.0
"""What lanes cost: memory of each, at work and parked, and the start of one.

    python -m tests.bench.lanes --domains 200

Every kind of lane does its work for every domain of a fleet. Then children are stopped one by one
in the middle of a question until no kind may have another one parked: the largest tree that hangs
of any mix can make. MiB of PSS are the kernel's (``smaps_rollup``); what counts is the sum, since
shared pages are split among those who share them. The main process is not in it. Nothing is judged
here.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import signal
import statistics
import time

from nova_diskaudit.facts import Layer, Process
from nova_diskaudit.lane import lanes, operations
from nova_diskaudit.lane.child import Child
from nova_diskaudit.lane.lanes import DeadlineMissed, LaneError, Lanes
from nova_diskaudit.lane.operations import KINDS, Kind
from tests.bench.fleet import fleet
from tests.bench.processes import cpu_seconds, pss_bytes, tree
from tests.lab.hypervisor import STACKS, Hypervisor

_LONG = 60.0
_SHARD = 16
_ABSENT = "00000000-0000-0000-0000-000000000000"


def main() -> None:
    """Run the benchmark and print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domains", type=int, default=200)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--stack", choices=STACKS, default="host")
    arguments = parser.parse_args()
    with Hypervisor(arguments.stack) as hypervisor, fleet(hypervisor, arguments.domains):
        with Lanes(hypervisor.uri, state_path=None) as pool:
            print(f"{arguments.domains} domains, {os.cpu_count()} cores\n")
            print("| lanes | MiB PSS |\n|---|---|")
            for kind in KINDS:
                _work(pool, kind)
            processes = _processes(pool)
            for name, pid in processes.items():
                print(f"| {name} | {pss_bytes({pid}) / 2**20:.1f} |")
            print(f"| all, every kind at work | {_mib():.1f} |")
            parked = _park_all(pool)
            print(f"| all, {parked} children parked | {_mib():.1f} |")
        with Lanes(hypervisor.uri, state_path=None) as pool:
            seconds, processor = _starts(pool, arguments.starts)
        print("\n| a lane's start, with its first answer | median |\n|---|---|")
        print(f"| ms | {statistics.median(seconds) * 1000:.1f} |")
        print(f"| ms of processor time (mean) | {processor / len(seconds) * 1000:.1f} |")


def _work(pool: Lanes, kind: Kind) -> None:
    """What a sweep asks a lane of this kind."""
    listed = pool.call(operations.LIST_STATES, deadline=_LONG)
    running = pool.call(operations.PROCESSES, deadline=_LONG)
    members = [(one.uuid, running[one.uuid]) for one in listed]
    if kind == "storage":
        pool.call(operations.MOUNTS, deadline=_LONG)
        for uuid, process in members:
            domain = pool.call(operations.DESCRIBE, uuid, deadline=_LONG)
            for disk in domain.disks:
                layers: list[Layer] = list(disk.layers)
                pool.call(operations.PROBE_LAYERS, layers, process, [], deadline=_LONG)
    elif kind == "monitor":
        pool.call(operations.DIGESTS, [uuid for uuid, _ in members], deadline=_LONG)
    elif kind == "evidence":
        for begin in range(0, len(members), _SHARD):
            shard: list[tuple[str, Process]] = members[begin : begin + _SHARD]
            pool.call(operations.BLOCK_STATS, shard, deadline=_LONG, subject=shard[0][0])
    elif kind == "guest":
        for uuid, _ in members:  # no guest has an agent: an error each
            with contextlib.suppress(LaneError):
                pool.call(operations.AGENT, uuid, "{}", 1, deadline=_LONG)
    else:
        pool.call(operations.EVENTS, 0.1, deadline=_LONG)


def _processes(pool: Lanes) -> dict[str, int]:
    """The processes of the pool; those which are no lane do what lanes have in common."""
    kinds = {_pid(child): child.kind for child in pool._supervisor._children}
    return {kinds.get(pid, "in common"): pid for pid in sorted(_tree())}


def _pid(child: Child) -> int:
    """Who has just answered may not have been told of yet."""
    while child.pid is None:
        time.sleep(0.001)
    return child.pid


def _tree() -> set[int]:
    """All processes of lanes; the hypervisor is a child of ours as well."""
    found = set()
    for pid in tree(os.getpid()):
        with contextlib.suppress(OSError):
            if b"nova_diskaudit.lane" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


def _mib() -> float:
    return pss_bytes(_tree()) / 2**20


def _ask(pool: Lanes, kind: Kind, seconds: float) -> None:
    """Something that every lane of this kind can answer."""
    uuid, process = _ABSENT, Process(pid=1, start_ticks=1)
    with contextlib.suppress(lanes.LaneRefused, lanes.NoToken):
        if kind == "storage":
            pool.call(operations.MOUNTS, deadline=seconds)
        elif kind == "monitor":
            pool.call(operations.LIST_STATES, deadline=seconds)
        elif kind == "evidence":
            pool.call(operations.BLOCK_STATS, [(uuid, process)], deadline=seconds, subject=uuid)
        elif kind == "guest":
            pool.call(operations.AGENT, uuid, "{}", 1, deadline=seconds)
        else:
            pool.call(operations.EVENTS, 0.05, deadline=seconds)


def _park_all(pool: Lanes) -> int:
    """Stop children in the middle of a question until no further one is given out."""
    for kind in KINDS:
        for _ in range(lanes._MOST_PARKED[kind] + 1):
            _ask(pool, kind, _LONG)
            idle = pool._idle[kind]
            if not idle:
                break
            os.kill(_pid(idle[-1]), signal.SIGSTOP)
            with contextlib.suppress(DeadlineMissed):
                _ask(pool, kind, 0.05)
    return sum(state.parked for state in pool.states())


def _starts(pool: Lanes, count: int) -> tuple[list[float], float]:
    """Seconds of the first answer of fresh lanes, one after the other, and processor seconds."""
    pool.call(operations.FILESYSTEM, "/", deadline=_LONG)
    before = cpu_seconds(_tree() | {os.getpid()})
    seconds = []
    for _ in range(count):
        (child,) = pool._supervisor._children
        os.kill(_pid(child), signal.SIGKILL)
        while pool._supervisor._children:
            if pool._idle["storage"] and not pool._idle["storage"][-1].is_usable():
                break
            time.sleep(0.001)
        begun = time.perf_counter()
        pool.call(operations.FILESYSTEM, "/", deadline=_LONG)
        seconds.append(time.perf_counter() - begun)
        while len(pool._supervisor._children) > 1:
            time.sleep(0.001)
    return seconds, cpu_seconds(_tree() | {os.getpid()}) - before


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""The half of :mod:`tests.bench.scheduler` that runs in Nova's Python; it needs nothing of ours
but what is installed there. Prints JSON: lists of seconds by what was measured.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import nova.conf
import nova.objects
from nova.scheduler import filters, host_manager, weights

from nova_diskaudit.conf import disk_audit, scheduler
from nova_diskaudit.scheduler import keeper
from nova_diskaudit.scheduler.snapshot import EMPTY, Snapshot

CONF = nova.conf.CONF
FILTER = "nova_diskaudit.scheduler.filters.ActualDiskFilter"
WEIGHER = "nova_diskaudit.scheduler.weights.ActualDiskWeigher"
NOVAS = "nova.scheduler.weights.disk.DiskWeigher"


class BareFilter(filters.BaseHostFilter):
    """What the machinery around a filter costs."""

    def host_passes(self, host_state: Any, spec_obj: Any) -> bool:
        return True


class BareWeigher(weights.BaseHostWeigher):
    """What the machinery around a weigher costs."""

    def _weigh_object(self, obj: Any, weight_properties: Any) -> float:
        return 0.0

    def weigh_objects(self, weighed_obj_list: Any, weight_properties: Any) -> list[float]:
        return [0.0] * len(weighed_obj_list)


class Gaps:
    """How long another thread of the process has to wait for its turn, at most."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Gaps:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.perf_counter()
        while not self._over.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            self.longest, before = max(self.longest, now - before), now


def configure(url: str) -> None:
    CONF([], default_config_files=[], default_config_dirs=[])
    scheduler.register(CONF)
    CONF.set_override("project_limits", True, group="nova_diskaudit")
    disk_audit.register(CONF)
    CONF.set_override("auth_type", "none", group="disk_audit")
    CONF.set_override("endpoint_override", url, group="disk_audit")


def looks(rounds: int) -> tuple[Snapshot, dict[str, list[float]]]:
    """Some looks at the service, as the thread of the keeper has them."""
    from nova_diskaudit.scheduler.source import Source

    found: dict[str, list[float]] = {"look": [], "look_cpu": [], "look_gap": []}
    source, snapshot = Source(CONF), EMPTY
    for _ in range(rounds):
        with Gaps() as gaps:
            wall, cpu = time.perf_counter(), time.thread_time()
            snapshot = source()
            found["look_cpu"].append(time.thread_time() - cpu)
            found["look"].append(time.perf_counter() - wall)
        found["look_gap"].append(gaps.longest)
    return snapshot, found


def requests(snapshot: Snapshot, rounds: int) -> dict[str, list[float]]:
    """Filter and weigher over all hosts, and what the same costs without them."""
    snapshot.projects = {f"{number:032x}": time.monotonic() + 1e6 for number in range(1000)}
    keeper.of(CONF)._snapshot = snapshot  # the thread starts as in life, and finds the same
    hosts = []
    for name in snapshot.readings:
        state = host_manager.HostState(name, name, str(uuid.uuid4()))
        state.free_disk_mb = 100_000
        hosts.append(state)
    flavor = nova.objects.Flavor(
        root_gb=1, ephemeral_gb=0, swap=0, memory_mb=1, vcpus=1, extra_specs={}
    )
    spec = nova.objects.RequestSpec(
        project_id="p",
        flavor=flavor,
        instance_uuid=str(uuid.uuid4()),
        scheduler_hints={},
        requested_destination=None,
        is_bfv=False,
    )
    filtering, weighing = filters.HostFilterHandler(), weights.HostWeightHandler()
    filter_, weigher, novas = (
        cls()
        for handler, name in ((filtering, FILTER), (weighing, WEIGHER), (weighing, NOVAS))
        for cls in handler.get_matching_classes([name])
    )
    jobs: dict[str, Callable[[], Any]] = {
        "bare_filter": lambda: filtering.get_filtered_objects([BareFilter()], hosts, spec),
        "filter": lambda: filtering.get_filtered_objects([filter_], hosts, spec),
        "bare_weigher": lambda: weighing.get_weighed_objects([BareWeigher()], hosts, spec),
        "weigher": lambda: weighing.get_weighed_objects([weigher], hosts, spec),
        "novas_weigher": lambda: weighing.get_weighed_objects([novas], hosts, spec),
    }
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            gc.collect()  # so that no job pays for the garbage of the one before
            begun = time.thread_time()
            job()
            found[name].append(time.thread_time() - begun)
    passed = len(jobs["filter"]())
    assert 0 < passed < len(hosts), "some hosts are full and some are not"
    first, *_, last = (snapshot.readings[one.obj.host].free_bytes for one in jobs["weigher"]())
    assert first > statistics.fmean((first, last)) > last, "it weighs"
    return found


def main() -> None:
    nova.objects.register_all()
    url, rounds = sys.argv[1], int(sys.argv[2])
    configure(url)
    snapshot, found = looks(rounds)
    found |= requests(snapshot, rounds)
    found["hosts"] = [len(snapshot.readings)]
    print(json.dumps(found))


main()

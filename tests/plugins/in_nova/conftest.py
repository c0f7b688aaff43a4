# SPDX-License-Identifier: Apache-2.0
"""A scheduler of Nova as far as filters and weighers see it: its own classes, no database."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import nova.conf
import nova.objects
import pytest
from nova.scheduler import filters as nova_filters
from nova.scheduler import host_manager
from nova.scheduler import weights as nova_weights

from nova_diskaudit.scheduler import keeper
from nova_diskaudit.scheduler.snapshot import EMPTY, Reading, Snapshot

GIB = 2**30
FILTER = "nova_diskaudit.scheduler.filters.ActualDiskFilter"
WEIGHER = "nova_diskaudit.scheduler.weights.ActualDiskWeigher"


@pytest.fixture(scope="session", autouse=True)
def objects() -> None:
    nova.objects.register_all()
    nova.conf.CONF([], default_config_files=[], default_config_dirs=[])


def host(name: str, free_disk_mb: int = 100_000) -> Any:
    """A HostState of Nova."""
    state = host_manager.HostState(name, name, str(uuid.uuid4()))
    state.free_disk_mb = free_disk_mb
    return state


def reading(
    free_gib: int, *, is_full: bool = False, good_until: float = 1e12, identity: object = None
) -> Reading:
    return Reading(
        identity=identity if identity is not None else object(),
        stamp=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        good_until=good_until,
        free_bytes=free_gib * GIB,
        is_full=is_full,
        earlier={},
    )


def request(
    *,
    project_id: str = "p",
    ephemeral_gb: int = 0,
    swap: int = 0,
    is_bfv: bool | None = False,
    hints: dict[str, list[str]] | None = None,
    destination: Any = None,
) -> Any:
    """A RequestSpec of Nova."""
    flavor = nova.objects.Flavor(
        root_gb=1, ephemeral_gb=ephemeral_gb, swap=swap, memory_mb=128, vcpus=1, extra_specs={}
    )
    spec = nova.objects.RequestSpec(
        project_id=project_id,
        flavor=flavor,
        instance_uuid=str(uuid.uuid4()),
        requested_destination=destination,
        scheduler_hints=hints or {},
        instance_group=None,
        pci_requests=None,
        numa_topology=None,
        num_instances=1,
    )
    if is_bfv is not None:
        spec.is_bfv = is_bfv
    return spec


class Plugins:
    """The plugins as Nova loads them, with a snapshot of the test's."""

    def __init__(self) -> None:
        self.snapshot: Snapshot = EMPTY
        self.filter_handler = nova_filters.HostFilterHandler()
        self.weight_handler = nova_weights.HostWeightHandler()
        (self.filter,) = (cls() for cls in self.filter_handler.get_matching_classes([FILTER]))
        (self.weigher,) = (cls() for cls in self.weight_handler.get_matching_classes([WEIGHER]))

    def know(self, projects: dict[str, float] | None = None, **readings: Reading) -> None:
        self.snapshot = Snapshot(readings, projects or {})

    def filtered(self, hosts: list[Any], spec: Any = None) -> list[str]:
        found = self.filter_handler.get_filtered_objects([self.filter], hosts, spec or request())
        return [one.host for one in found]

    def weighed(self, hosts: list[Any], spec: Any = None) -> list[str]:
        found = self.weight_handler.get_weighed_objects([self.weigher], hosts, spec or request())
        return [one.obj.host for one in found]


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    made = Plugins()
    monkeypatch.setattr(keeper.of(nova.conf.CONF), "current", lambda: made.snapshot)
    return made

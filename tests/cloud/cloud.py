# SPDX-License-Identifier: Apache-2.0
"""The whole cloud: all services of two hosts, started together and ended together.

    with Cloud() as cloud:
        cloud.connection(person).compute.servers()

Each begins empty: with the tables, cells, endpoints and flavors, but no tenant.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import pathlib
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar

import openstack.connection
from keystoneauth1 import session

from tests.cloud import environment, nova
from tests.cloud.environment import Database
from tests.cloud.glance import Glance
from tests.cloud.neutron import NeutronStub
from tests.cloud.placement import Placement
from tests.cloud.service import Web, credentials
from tests.lab.hypervisor import Hypervisor
from tests.services import place
from tests.services.api import auth_token
from tests.services.cloud import REGION, Person
from tests.services.cloud import Cloud as Directory
from tests.services.keystone import Keystone
from tests.services.memcached import Memcached
from tests.services.rabbitmq import Rabbitmq

_T = TypeVar("_T")
_Any = Any

#: A host's name, which is also its availability zone's, and how it keeps disks. A server stays in
#: its zone when it is resized or unshelved, so on its host.
HOSTS = {"compute-1": "qcow2", "compute-2": "flat"}

#: What each project may have of Nova, by Keystone's unified limits. What has none, none may have.
LIMITS = {"servers": 20, "class:VCPU": 20, "class:MEMORY_MB": 4096, "class:DISK_GB": 40}

#: GiB of the file system of a host's servers; what they do not use is not there.
_HOST_GIB = 48

INTERFACES = ("public", "internal", "admin")


@dataclasses.dataclass
class Host:
    """A compute node: its libvirtd, and its nova-compute."""

    name: str
    hypervisor: Hypervisor
    compute: nova.Compute

    @property
    def instances(self) -> pathlib.Path:
        """The directory of its servers' disks."""
        return instances_of(self.hypervisor)

    @property
    def saves(self) -> pathlib.Path:
        """The directory of what libvirt saves of suspended servers."""
        return saves_of(self.hypervisor)


def _disk_of(hypervisor: Hypervisor) -> pathlib.Path:
    return hypervisor.workdir / "disk"


def instances_of(hypervisor: Hypervisor) -> pathlib.Path:
    """Where Nova keeps disks on a host: the same path for libvirtd, QEMU and nova-compute."""
    return _disk_of(hypervisor) / "instances"


def saves_of(hypervisor: Hypervisor) -> pathlib.Path:
    """Where libvirt saves what servers had in memory; libvirt itself knows it by its usual name."""
    return _disk_of(hypervisor) / "save"


def _make_disk(hypervisor: Hypervisor) -> None:
    """One file system of a host's own, for its servers and for what libvirt saves of them."""
    path = _disk_of(hypervisor)
    path.mkdir()
    image = path.with_suffix(".ext4")
    with image.open("wb") as file:
        file.truncate(_HOST_GIB * 2**30)
    # Few inodes, for each of them is written.
    place.run("mkfs.ext4", "-q", "-m", "0", "-i", str(2**20), str(image))
    place.run("mount", "-o", "loop", str(image), str(path))
    instances_of(hypervisor).mkdir()
    saves_of(hypervisor).mkdir()
    usual = hypervisor.directory / "lib/qemu/save"
    usual.rmdir()
    usual.symlink_to(saves_of(hypervisor))


class Cloud:
    """One cloud, from ``start`` to ``stop``; see the module's docstring."""

    def __init__(self, tell: Callable[[str], None] = lambda line: None) -> None:
        """:param tell: gets a line when a phase is over."""
        self._tell = tell
        self._end = contextlib.ExitStack()
        #: seconds by phase, in the order in which they began
        self.seconds: dict[str, float] = {}
        self.hosts: dict[str, Host] = {}
        #: the services by name, those that are processes
        self.services: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.stop()

    # --- its life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start all of it; what is not installed is installed first.

        :raises tests.services.place.ServiceError: a service did not start.
        :raises tests.lab.hypervisor.HypervisorError: a libvirtd did not.
        """
        with contextlib.ExitStack() as end:
            # A server is ended with the thread that started it, so these threads stay.
            self._threads = end.enter_context(concurrent.futures.ThreadPoolExecutor(8))
            self._end = end
            with self.phase("installed state"):
                environment.databases()
            with self.phase("database, bus, Keystone, libvirtd"):
                self._start_foundations()
            with self.phase("people and catalog"):
                self._fill_keystone()
            with self.phase("Placement, Glance, Nova"):
                self._start_control()
            with self.phase("nova-compute"):
                self._start_computes()
            with self.phase("cell, zones, limits"):
                self._settle()
            self._end = end.pop_all()

    def stop(self) -> None:
        """End all of it; nothing stays but the cache."""
        self._end.close()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure something, and tell how long it took."""
        begun = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begun
        self._tell(f"{name}: {self.seconds[name]:.1f} s")

    def _all(self, *jobs: Callable[[], _T]) -> list[_T]:
        """Do things at the same time; the first error when all have ended."""
        waiting = [self._threads.submit(job) for job in jobs]
        concurrent.futures.wait(waiting)
        return [job.result() for job in waiting]

    def _started(self, service: _Any) -> _Any:
        """Start a service, and end it with the cloud."""
        service.start()
        self._end.callback(service.stop)
        name = getattr(service, "host", None) or getattr(service, "NAME", None)
        self.services[name or service.directory.name] = service
        return service

    # --- its parts --------------------------------------------------------------------------

    def _start_foundations(self) -> None:
        hypervisors = [Hypervisor(hostname=name) for name in HOSTS]
        self.database, self.bus, self.memcached = Database(), Rabbitmq(), Memcached()
        self.keystone, self.neutron = Keystone(), NeutronStub()
        parts = (self.bus, self.keystone, self.database, self.memcached, self.neutron, *hypervisors)
        self._all(*(lambda part=part: self._started(part) for part in parts))  # type: ignore[misc]
        self._hypervisors = dict(zip(HOSTS, hypervisors, strict=True))

    def _fill_keystone(self) -> None:
        self.directory = Directory(self.keystone)
        self.services_project = self.directory.project("services")
        users = {}
        for name in ("nova", "placement", "glance"):
            users[name] = self.directory.user(name, self.services_project, "service", "admin")
        # Nova reads everybody's limits.
        self.directory.grant(users["nova"], None, "reader")
        self._users = users
        self.directory.endpoint("identity", self.keystone.url, *INTERFACES)
        self.directory.endpoint("network", self.neutron.url, *INTERFACES)

    def authtoken(self, person: Person, **options: object) -> Mapping[str, object]:
        """``[keystone_authtoken]`` of a service whose user this is."""
        return {
            **auth_token(self.keystone, person),
            "memcached_servers": self.memcached.address,
            **options,
        }

    def _start_control(self) -> None:
        url = self.database.url
        nova_user = self._users["nova"]
        assert nova_user.project is not None
        self.surroundings = nova.Surroundings(
            bus=self.bus.url,
            databases={name: url(name) for name in environment.DATABASES},
            user=credentials(
                self.keystone.url, nova_user.id, nova_user.password, nova_user.project
            ),
            authtoken=self.authtoken(nova_user),
        )
        self.placement = Placement(url("placement"), self.authtoken(self._users["placement"]))
        self.glance = Glance(url("glance"), self.authtoken(self._users["glance"]))
        self.nova = nova.Api(self.surroundings)
        self.conductor = nova.Conductor(self.surroundings)
        self.scheduler = nova.Scheduler(self.surroundings)
        self._all(
            lambda: self._listed("placement", self.placement),
            lambda: self._listed("compute", self.nova, "/v2.1"),
            lambda: self._listed("image", self.glance),
            lambda: self._started(self.conductor),
            lambda: self._started(self.scheduler),
        )

    def _listed(self, kind: str, service: Web, path: str = "") -> None:
        """Start an API, and write it into the catalog."""
        self._started(service)
        self.directory.endpoint(kind, service.url + path, *INTERFACES)

    def _start_computes(self) -> None:
        def start(name: str) -> Host:
            hypervisor = self._hypervisors[name]
            _make_disk(hypervisor)
            compute = nova.Compute(
                self.surroundings,
                host=name,
                images_type=HOSTS[name],
                libvirt_uri=hypervisor.uri,
                instances=instances_of(hypervisor),
            )
            return Host(name, hypervisor, self._started(compute))

        found = self._all(*(lambda name=name: start(name) for name in HOSTS))  # type: ignore[misc]
        self.hosts = {host.name: host for host in found}

    def _settle(self) -> None:
        self.nova.manage("cell_v2", "discover_hosts")
        # A token has the catalog of its time; what there is now, a new session sees.
        self.directory = Directory(self.keystone)
        self.admin = openstack.connection.Connection(
            session=self.directory.session, region_name=REGION
        )
        for name in HOSTS:
            zone = self.admin.compute.create_aggregate(name=name, availability_zone=name)
            self.admin.compute.add_host_to_aggregate(zone, name)
        self.register_limits(LIMITS)

    def register_limits(self, limits: Mapping[str, int]) -> None:
        """Limits of Nova that hold for each project, in Keystone."""
        (service,) = self.admin.identity.services(type="compute")
        rows = [
            {
                "service_id": service.id,
                "region_id": REGION,
                "resource_name": name,
                "default_limit": limit,
            }
            for name, limit in limits.items()
        ]
        answer = self.system_admin.post(
            f"{self.keystone.url}/registered_limits", json={"registered_limits": rows}
        )
        assert answer.status_code == 201, answer.text

    @property
    def system_admin(self) -> session.Session:
        """A session of the administrator on the system."""
        person = self.directory.user("system-admin", None, "admin")
        return self.directory.session_of(person.auth())

    # --- for those who use it -----------------------------------------------------------------

    def connection(self, person: Person, **options: Any) -> openstack.connection.Connection:
        """openstacksdk as that person."""
        return openstack.connection.Connection(
            session=self.directory.session_of(person.auth()), region_name=REGION, **options
        )

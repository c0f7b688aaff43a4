# SPDX-License-Identifier: Apache-2.0
"""Nova: its API, conductor and scheduler, and the nova-compute of one host."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from collections.abc import Mapping
from typing import ClassVar

from tests.cloud import environment
from tests.cloud.service import Web, Worker, environ_of
from tests.services import place
from tests.services.api import Settings


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What every part of Nova has to know about the others."""

    bus: str
    #: URLs of Nova's databases by name
    databases: Mapping[str, str]
    #: keystoneauth's options of the user nova
    user: Mapping[str, object]
    #: options of ``[keystone_authtoken]``
    authtoken: Mapping[str, object]

    def settings(self, directory: pathlib.Path, *, database: bool) -> dict[str, dict[str, object]]:
        """The configuration that all parts share.

        :param database: whether the part may see the databases. A nova-compute may not, and ends
            when it does.
        """
        shared: dict[str, dict[str, object]] = {
            "DEFAULT": {
                "transport_url": self.bus,
                "my_ip": "127.0.0.1",
                "state_path": directory,
                # Else a compute takes over 30 s to end.
                "graceful_shutdown_timeout": 6,
                "rpc_response_timeout": 120,
                # A guest without an init system does not know the power button.
                "shutdown_timeout": 2,
                "allow_resize_to_same_host": True,
                # A shelved server keeps its disks until somebody says otherwise: both are seen.
                "shelved_offload_time": -1,
                "default_ephemeral_format": "ext4",
                "mkisofs_cmd": "genisoimage",
            },
            "oslo_concurrency": {"lock_path": directory / "locks"},
            "placement": dict(self.user),
            "glance": dict(self.user),
            "neutron": dict(self.user),
            "service_user": dict(self.user),
            "quota": {
                "driver": "nova.quota.UnifiedLimitsDriver",
            },
            "oslo_limit": {
                **{name: value for name, value in self.user.items() if name != "project_id"},
                "system_scope": "all",
                "endpoint_service_type": "compute",
                "endpoint_interface": "public",
            },
            "vnc": {"enabled": False},
        }
        if database:
            shared["api_database"] = {"connection": self.databases["nova_api"]}
            shared["database"] = {
                "connection": self.databases["nova"],
                # A cell that is down is told at once, and not after ten tries of 10 s each.
                "max_retries": 1,
                "retry_interval": 1,
            }
        return shared


class Api(Web):
    """What tenants and operators talk to."""

    NAME: ClassVar[str] = "nova-api"
    CONF: ClassVar[str] = "nova.conf"
    MODULE: ClassVar[str] = "nova.wsgi.osapi_compute"

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__()
        self._surroundings = surroundings

    def prepare(self) -> None:
        super().prepare()
        shutil.copy(environment.programs() / "etc/nova/api-paste.ini", self.directory)

    def settings(self) -> Settings:
        return {
            **self._surroundings.settings(self.data, database=True),
            "keystone_authtoken": self._surroundings.authtoken,
        }

    def environ(self) -> Mapping[str, str]:
        return {"OS_NOVA_CONFIG_DIR": str(self.directory)}

    def manage(self, *words: str) -> str:
        """Run ``nova-manage`` with this configuration; what it prints.

        :raises tests.services.place.ServiceError: when it fails.
        """
        program = str(environment.programs() / "bin/nova-manage")
        return place.run(program, f"--config-file={self.conf}", *words)


class Conductor(Worker):
    """The one who writes into the database for the computes."""

    NAME: ClassVar[str] = "nova-conductor"
    CONF: ClassVar[str] = "nova.conf"
    PROGRAM: ClassVar[str] = "nova-conductor"
    READY: ClassVar[str] = "Starting conductor node"

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__()
        self._surroundings = surroundings

    def settings(self) -> Settings:
        shared = self._surroundings.settings(self.data, database=True)
        return {**shared, "conductor": {"workers": 1}}


class Scheduler(Worker):
    """The one who chooses a host."""

    NAME: ClassVar[str] = "nova-scheduler"
    CONF: ClassVar[str] = "nova.conf"
    PROGRAM: ClassVar[str] = "nova-scheduler"
    READY: ClassVar[str] = "Starting scheduler node"

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__()
        self._surroundings = surroundings

    def settings(self) -> Settings:
        shared = self._surroundings.settings(self.data, database=True)
        return {**shared, "scheduler": {"workers": 1}}


class Compute(Worker):
    """The nova-compute of a host, which runs its servers by a libvirtd of the host's own."""

    NAME: ClassVar[str] = "nova-compute"
    CONF: ClassVar[str] = "nova-compute.conf"
    PROGRAM: ClassVar[str] = "nova-compute"
    READY: ClassVar[str] = "Compute node record created for"

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        host: str,
        images_type: str,
        libvirt_uri: str,
        instances: pathlib.Path,
    ) -> None:
        """:param images_type: how disks are kept, ``[libvirt] images_type``.

        :param instances: the directory of the servers' disks, as libvirt sees it as well.
        """
        super().__init__()
        self._surroundings = surroundings
        self.host = host
        self._images_type = images_type
        self._libvirt_uri = libvirt_uri
        self._instances = instances

    def prepare(self) -> None:
        super().prepare()
        # There is no sudo here, and nobody to become: it runs as root.
        sudo = self.directory / "bin/sudo"
        sudo.parent.mkdir()
        sudo.write_text('#!/bin/sh\nexec "$@"\n')
        sudo.chmod(0o755)

    def settings(self) -> Settings:
        shared = self._surroundings.settings(self.data, database=False)
        shared["DEFAULT"] |= {
            "host": self.host,
            "compute_driver": "libvirt.LibvirtDriver",
            "instances_path": self._instances,
            "update_resources_interval": 15,
        }
        return {
            **shared,
            "libvirt": {
                "connection_uri": self._libvirt_uri,
                "virt_type": "qemu",
                "cpu_mode": "none",
                "hw_machine_type": "x86_64=q35",
                "images_type": self._images_type,
            },
            "workarounds": {"disable_rootwrap": True},
        }

    def environ(self) -> Mapping[str, str]:
        return environ_of({}, self.directory / "bin", environment.programs() / "bin")

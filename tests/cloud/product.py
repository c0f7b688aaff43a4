# SPDX-License-Identifier: Apache-2.0
"""nova-diskaudit in the cloud, as an operator installs it: API, periodic work, an agent per host.

    with Product(cloud) as product:
        product.disk_audit(tenant.reader).instances()

The API is its WSGI application under uWSGI, behind keystonemiddleware, on the cloud's MariaDB. Each
agent has an application credential for its host and nothing else; the API's own user reads all of
Nova.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from nova_diskaudit import sdk
from nova_diskaudit.agent import reader
from nova_diskaudit.sdk._proxy import DiskAuditProxy
from tests.cloud.cloud import INTERFACES, Cloud, Host
from tests.cloud.service import credentials, ini
from tests.services import daemon, place
from tests.services.api import Api, Settings
from tests.services.cloud import REGION, Credential, Person

_PROGRAMS = pathlib.Path(sys.executable).parent
_TOP = pathlib.Path(__file__).parents[2]

AGENT_ROLE = "diskaudit_agent"
#: Seconds from one cycle of an agent to the next, and from one look at Nova to the next: what a
#: test waits for should not take minutes.
AGENT_INTERVAL = 2
FULL_CYCLES = 3
INTERVAL = 5
#: Our own limit of what storage may hold for a project.
HOST_ALLOCATED_GIB = 5


class _Program(daemon.Daemon):
    """A program of ours with a configuration file."""

    # The interpreter may live in root's home, where nobody else can read.
    OWNER: ClassVar[tuple[int, int]] = (0, 0)

    def environ(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(_TOP)}


class Agent(_Program):
    """``nova-diskaudit-agent`` of one host."""

    NAME: ClassVar[str] = "diskaudit-agent"

    def __init__(self, host: Host, auth: Mapping[str, object]) -> None:
        """:param auth: options of ``[disk_audit]``."""
        super().__init__()
        self._settings: Settings = {
            "DEFAULT": {"host": host.name},
            "hypervisor": {"connection_uri": host.hypervisor.uri},
            "agent": {"interval": AGENT_INTERVAL, "full_cycles": FULL_CYCLES},
            "audit": {
                "instances_path": host.instances,
                "managed_save_path": host.saves,
            },
            "exporter": {"listen": "127.0.0.1:0"},
            "guest": {"enabled": True},
            "publisher": {"enabled": True},
            "disk_audit": {"auth_type": "v3applicationcredential", **auth},
        }

    def prepare(self) -> None:
        settings = {group: dict(options) for group, options in self._settings.items()}
        settings["agent"]["state_path"] = self.data
        self.conf.write_text(ini(settings))

    @property
    def conf(self) -> pathlib.Path:
        """Its configuration file."""
        return self.directory / "nova-diskaudit.conf"

    def command(self) -> list[str]:
        return [str(_PROGRAMS / "nova-diskaudit-agent"), f"--config-file={self.conf}"]

    def is_ready(self) -> bool:
        with contextlib.suppress(reader.AgentUnreachable):
            return self.shown().report is not None
        return False

    def shown(self) -> reader.Shown:
        """What it says to whoever asks on its host."""
        return reader.read(self.data / reader.SOCKET_NAME)


class PeriodicWork(_Program):
    """The periodic work of the service: the map of Nova, limits, reconciliation and all else."""

    NAME: ClassVar[str] = "diskaudit-reconcile"

    def __init__(self, conf: pathlib.Path) -> None:
        super().__init__()
        self._conf = conf

    def command(self) -> list[str]:
        program = str(_PROGRAMS / "nova-diskaudit-reconcile")
        return [program, f"--config-file={self._conf}", "--forever"]

    def is_ready(self) -> bool:
        return True  # it listens to nobody


class Product:
    """All of it, from ``start`` to ``stop``."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._end = contextlib.ExitStack()
        self.agents: dict[str, Agent] = {}
        #: the application credential of each host's agent
        self.credentials: dict[str, Credential] = {}

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

    def start(self) -> None:
        with contextlib.ExitStack() as end:
            self._start_service(end)
            for host in self.cloud.hosts.values():
                self.agents[host.name] = self._agent(host)
                end.enter_context(self.agents[host.name])
            self._end = end.pop_all()

    def stop(self) -> None:
        self._end.close()

    def _start_service(self, end: contextlib.ExitStack) -> None:
        cloud = self.cloud
        directory, project = cloud.directory, cloud.services_project
        user = directory.user("diskaudit", project, "service", "admin")
        self.agent_user = directory.user("diskaudit-agents", project, AGENT_ROLE)
        settings = {
            "api": {"auth_strategy": "keystone"},
            "database": {"connection": cloud.database.create_database("diskaudit")},
            "nova": {
                **credentials(cloud.keystone.url, user.id, user.password, project),
                "interval": INTERVAL,
            },
            # A project that is new is asked about at Placement once it was added up.
            "rollup": {"interval": 60},
            "limits": {
                "interval": INTERVAL,
                "limits_interval": INTERVAL,
                "nova_enforces": True,
            },
            "keystone_authtoken": cloud.authtoken(user),
        }
        self.api = Api(settings)
        # It wants its tables at the start, and manage wants its file.
        file = cloud.keystone.directory / "nova-diskaudit-api.conf"
        file.write_text(ini(settings))
        self._conf, self._settings = file, settings
        self.manage("db", "sync")
        end.enter_context(self.api)
        directory.endpoint(sdk.SERVICE_TYPE, self.api.url, *INTERFACES)
        self.manage("limits", "register", "--host-allocated-gib", str(HOST_ALLOCATED_GIB))
        self.work = end.enter_context(PeriodicWork(file))

    def manage(self, *words: str) -> str:
        """Run ``nova-diskaudit-manage``; what it prints.

        :raises tests.services.place.ServiceError: when it fails.
        """
        program = str(_PROGRAMS / "nova-diskaudit-manage")
        return place.run(program, f"--config-file={self._conf}", *words)

    def reconcile(self, *tasks: str, stale_after: int | None = None) -> dict[str, Any]:
        """Do some of the periodic work now; what the program tells, by task.

        :param stale_after: seconds, in this run alone.
        :raises tests.services.place.ServiceError: when it fails.
        """
        conf = self._conf
        if stale_after is not None:
            conf = conf.with_stem("impatient")
            api = {**self._settings["api"], "stale_after": stale_after}
            conf.write_text(ini({**self._settings, "api": api}))
        program = str(_PROGRAMS / "nova-diskaudit-reconcile")
        names = (f"--task={name}" for name in tasks)
        told = place.run(program, f"--config-file={conf}", "--format=json", *names)
        return {one["task"]: one for one in json.loads(told)["tasks"]}

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[None]:
        """No agent reports meanwhile, which is what they do most of the time at their defaults."""
        pids = [agent.pid for agent in self.agents.values()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _agent(self, host: Host) -> Agent:
        credential = self.credential_for(host.name)
        self.manage("host", "enroll", host.name, credential.id)
        self.credentials[host.name] = credential
        auth = {
            "auth_url": self.cloud.keystone.url,
            "application_credential_id": credential.id,
            "application_credential_secret": credential.secret,
            "region_name": REGION,
        }
        return Agent(host, auth)

    def credential_for(self, host: str) -> Credential:
        """A credential that can put the report of this host, and do nothing else."""
        rule = (sdk.SERVICE_TYPE, "PUT", f"/v1/hosts/{host}/report")
        return self.cloud.directory.application_credential(
            self.agent_user, AGENT_ROLE, access_rules=[rule]
        )

    def disk_audit(self, person: Person) -> DiskAuditProxy:
        """The service by openstacksdk, as that person."""
        connection = self.cloud.connection(person)
        sdk.register(connection)
        return sdk.of(connection)

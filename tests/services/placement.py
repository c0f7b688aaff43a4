# SPDX-License-Identifier: Apache-2.0
"""A Placement of its own: the real one, from PyPI, under uWSGI, on SQLite, behind a real Keystone.

Its virtual environment is made once and cached, with an empty database beside it that each server
copies. :class:`Promises` writes there what Nova would.
"""

import pathlib
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from keystoneauth1 import adapter

from tests.services import api, daemon, place, venv, wsgi
from tests.services.cloud import Cloud, Person
from tests.services.keystone import CONSTRAINTS, Keystone

#: Placement of 2026.2. pyuwsgi is uWSGI as a wheel, so that no compiler runs.
REQUIREMENTS = ("openstack-placement==16.0.0", "pyuwsgi==2.0.30.post1")

_CONF = """\
[DEFAULT]
log_file = {directory}/placement.log
[placement_database]
connection = sqlite:///{data}/placement.db
sqlite_synchronous = false
[api]
auth_strategy = keystone
"""


def environment() -> pathlib.Path:
    """The virtual environment; takes half a minute when it is not in the cache."""

    def make_empty_database(path: pathlib.Path) -> None:
        empty = path / "empty"
        empty.mkdir()
        conf = empty / "placement.conf"
        conf.write_text(_CONF.format(directory=empty, data=empty))
        place.run(str(path / "bin/placement-manage"), f"--config-file={conf}", "db", "sync")

    return venv.made(
        "placement",
        REQUIREMENTS,
        constraints=CONSTRAINTS,
        then=make_empty_database,
        of=(_CONF,),
    )


class Placement(wsgi.Wsgi):
    """One server, whose users are those of a Keystone."""

    NAME: ClassVar[str] = "placement"
    MODULE: ClassVar[str] = "placement.wsgi.api:application"
    THREADS: ClassVar[int] = 2

    def __init__(self, keystone: Keystone, person: Person) -> None:
        """:param person: who may look at other people's tokens."""
        super().__init__()
        self._keystone = keystone
        self._person = person

    def prepare(self) -> None:
        self.environment = environment()
        place.run("cp", "-a", str(self.environment / "empty/placement.db"), str(self.data))
        options = api.auth_token(self._keystone, self._person)
        lines = [f"{name} = {value}" for name, value in options.items()]
        conf = _CONF.format(directory=self.directory, data=self.data)
        text = "\n".join([conf, "[keystone_authtoken]", *lines, ""])
        (self.directory / "placement.conf").write_text(text)

    def environ(self) -> Mapping[str, str]:
        return {"OS_PLACEMENT_CONFIG_DIR": str(self.directory)}


class Promises:
    """What Nova writes in a Placement when it places instances; done by an administrator."""

    def __init__(self, placement: Placement, cloud: Cloud) -> None:
        self._service = adapter.Adapter(
            cloud.session,
            service_type="placement",
            endpoint_override=placement.url,
            default_microversion="1.28",
        )

    def node(self, name: str, *, disk_gb: int) -> str:
        """A provider with so much disk; its UUID."""
        made = self._service.post("/resource_providers", json={"name": name}).json()
        inventories = {"DISK_GB": {"total": disk_gb}, "VCPU": {"total": 1000}}
        self._service.put(
            f"/resource_providers/{made['uuid']}/inventories",
            json={"resource_provider_generation": 0, "inventories": inventories},
        )
        return str(made["uuid"])

    def claim(self, project: str, disks_gb: Mapping[str, int], consumer: str | None = None) -> str:
        """Promise a consumer so much of each provider; its UUID.

        A disk of 0 GiB is none, as Nova writes it for what boots from a volume.
        """
        consumer = consumer or str(uuid.uuid4())
        self._put(
            consumer,
            {
                provider: {"resources": {"VCPU": 1, **({"DISK_GB": disk} if disk else {})}}
                for provider, disk in disks_gb.items()
            },
            project,
        )
        return consumer

    def release(self, consumer: str) -> None:
        """Take all of it back, as Nova does it for a server that is deleted or shelved."""
        self._service.delete(f"/allocations/{consumer}")

    def empty(self, project: str, consumer: str) -> None:
        """The same, as Nova does it at the end of a migration."""
        self._put(consumer, {}, project)

    def _put(self, consumer: str, allocations: dict[str, Any], project: str) -> None:
        before = self._service.get(f"/allocations/{consumer}").json()
        self._service.put(
            f"/allocations/{consumer}",
            json={
                "allocations": allocations,
                "project_id": project,
                "user_id": "nova",
                "consumer_generation": before.get("consumer_generation"),
            },
        )


def main() -> None:
    """Run a Keystone and a Placement until the shell that it opens ends."""
    daemon.no_arguments(main.__doc__)
    with Keystone() as keystone:
        cloud = Cloud(keystone)
        person = cloud.user("placement", cloud.project("service"), "admin")
        with Placement(keystone, person) as server:
            cloud.endpoint("placement", server.url)
            daemon.present(server, f"{server.url} behind {keystone.url} (admin, admin)")


if __name__ == "__main__":
    main()

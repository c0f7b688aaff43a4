# SPDX-License-Identifier: Apache-2.0
"""A Keystone whose limits a test sets, as an administrator would."""

from __future__ import annotations

import pathlib
from typing import Any

from keystoneauth1 import adapter
from oslo_config import cfg

from nova_diskaudit.cloud import connection
from nova_diskaudit.cloud import keystone as cloud_keystone
from nova_diskaudit.conf import service
from tests.services.cloud import Cloud, Person


def credentials(person: Person, **scope: str) -> str:
    """Options of a user; without ``scope`` on the user's own project."""
    scope = scope or {"project_id": str(person.project)}
    return "\n".join(
        [
            "auth_type = password",
            f"auth_url = {person.cloud.url}",
            f"user_id = {person.id}",
            f"password = {person.password}",
            *(f"{name} = {value}" for name, value in scope.items()),
            "",
        ]
    )


def configured(directory: pathlib.Path, text: str) -> cfg.ConfigOpts:
    """The service's configuration with these lines."""
    file = directory / "nova-diskaudit-api.conf"
    file.write_text(text)
    return service.read([str(file)])


def keystone(conf: cfg.ConfigOpts) -> cloud_keystone.Keystone:
    """Keystone, as the service would ask it."""
    return cloud_keystone.Keystone(
        connection.connect(conf, group="keystone"), region=conf.nova.region_name
    )


class Limits:
    """What is set in a Keystone; done by its administrator."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._identity = adapter.Adapter(cloud.session, endpoint_override=cloud.url)

    def service(self, type: str) -> str:
        """A new service; its id."""
        wanted = {"type": type, "name": type}
        return str(
            self._identity.post("/services", json={"service": wanted}).json()["service"]["id"]
        )

    def region(self, name: str) -> None:
        self._identity.post("/regions", json={"region": {"id": name}})

    def registered(self) -> dict[str, Any]:
        """By name; of all services."""
        found = self._identity.get("/registered_limits").json()["registered_limits"]
        return {one["resource_name"]: one for one in found}

    def register(
        self, service_id: str, name: str, default: int, *, region: str | None = None
    ) -> str:
        """A new registered limit; its id."""
        wanted = {"service_id": service_id, "resource_name": name, "default_limit": default}
        if region is not None:
            wanted["region_id"] = region
        made = self._identity.post("/registered_limits", json={"registered_limits": [wanted]})
        return str(made.json()["registered_limits"][0]["id"])

    def set(
        self, service_id: str, name: str, value: int, *, region: str | None = None, **whose: str
    ) -> str:
        """A limit of a ``project_id`` or ``domain_id``; its id."""
        wanted = {"service_id": service_id, "resource_name": name, "resource_limit": value, **whose}
        if region is not None:
            wanted["region_id"] = region
        made = self._identity.post("/limits", json={"limits": [wanted]})
        return str(made.json()["limits"][0]["id"])

    def unset(self, limit_id: str) -> None:
        self._identity.delete(f"/limits/{limit_id}")

    def clear(self, *, services: bool = True) -> None:
        """Remove all of it, and the services that it was of."""
        for kind in ("limits", "registered_limits", *(["services"] if services else [])):
            for one in self._identity.get(f"/{kind}").json()[kind]:
                if one.get("type") != "identity":
                    self._identity.delete(f"/{kind}/{one['id']}")

    def domain(self, name: str) -> str:
        """A new domain; its id."""
        made = self._identity.post("/domains", json={"domain": {"name": name}})
        return str(made.json()["domain"]["id"])

    def project(self, domain_id: str, name: str) -> str:
        """A new project in a domain; its id."""
        wanted = {"name": name, "domain_id": domain_id}
        return str(
            self._identity.post("/projects", json={"project": wanted}).json()["project"]["id"]
        )

# SPDX-License-Identifier: Apache-2.0
"""The people of a cloud, made in a real Keystone: projects, users, roles, credentials, endpoints.

    cloud = Cloud(keystone)
    acme = cloud.project("acme")
    alice = cloud.user("alice", acme, "reader")
    alice.token()

Names are what a test calls them; Keystone gets them with a suffix, so a session's tests share one
server without meeting each other.
"""

from __future__ import annotations

import dataclasses
import datetime
import secrets
from collections.abc import Sequence
from typing import Any

from keystoneauth1 import adapter, session
from keystoneauth1.identity import v3

from tests.services.keystone import Keystone

REGION = "RegionOne"


@dataclasses.dataclass(frozen=True)
class Person:
    """A user with a password."""

    cloud: Cloud
    id: str
    name: str
    password: str
    #: the project that the roles were given on, None for the system
    project: str | None

    def auth(self, **scope: Any) -> v3.Password:
        """The keystoneauth plugin; without ``scope`` for the user's own project, or the system."""
        if not scope:
            scope = {"project_id": self.project} if self.project else {"system_scope": "all"}
        return v3.Password(
            self.cloud.url, user_id=self.id, password=self.password, reauthenticate=False, **scope
        )

    def token(self, **scope: Any) -> str:
        """A new token; ``unscoped=True`` for one without a project."""
        return self.cloud.token(self.auth(**scope))


@dataclasses.dataclass(frozen=True)
class Credential:
    """An application credential, and whose it is."""

    owner: Person
    id: str
    secret: str

    def auth(self) -> v3.ApplicationCredential:
        return v3.ApplicationCredential(
            self.owner.cloud.url,
            application_credential_id=self.id,
            application_credential_secret=self.secret,
            reauthenticate=False,
        )

    def token(self) -> str:
        return self.owner.cloud.token(self.auth())


class Cloud:
    """What an administrator does with a Keystone."""

    def __init__(self, keystone: Keystone) -> None:
        self.url = keystone.url
        admin = v3.Password(
            self.url,
            username="admin",
            password="admin",
            project_name="admin",
            user_domain_id="default",
            project_domain_id="default",
        )
        self.session = session.Session(auth=admin)
        self._identity = adapter.Adapter(self.session, endpoint_override=self.url)
        self._roles: dict[str, str] = {}

    def project(self, name: str = "project") -> str:
        """A new project; its id."""
        return self._made("project", name=_unique(name), domain_id="default")

    def names(self) -> dict[str, str]:
        """What Keystone calls the projects, by id."""
        found = self._identity.get("/projects").json()["projects"]
        return {one["id"]: one["name"] for one in found}

    def user(self, name: str, project: str | None, *roles: str) -> Person:
        """A new user with these roles on the project, on the system when that is None."""
        password = secrets.token_urlsafe(16)
        name = _unique(name)
        id = self._made("user", name=name, domain_id="default", password=password)
        person = Person(self, id, name, password, project)
        for role in roles:
            self.grant(person, project, role)
        return person

    def grant(self, person: Person, project: str | None, role: str) -> None:
        """A role more, on another project perhaps. Roles that do not exist are made."""
        where = f"/projects/{project}" if project else "/system"
        self._identity.put(f"{where}/users/{person.id}/roles/{self.role(role)}")

    def revoke(self, person: Person, project: str, role: str) -> None:
        """Take a role away."""
        self._identity.delete(f"/projects/{project}/users/{person.id}/roles/{self.role(role)}")

    def role(self, name: str) -> str:
        """The id of a role, which is made when it does not exist."""
        if name not in self._roles:
            found = self._identity.get("/roles", params={"name": name}).json()["roles"]
            self._roles[name] = found[0]["id"] if found else self._made("role", name=name)
        return self._roles[name]

    def set_enabled(self, kind: str, id: str, enabled: bool) -> None:
        """Enable or disable a ``user`` or ``project``."""
        self._identity.patch(f"/{kind}s/{id}", json={kind: {"enabled": enabled}})

    def delete(self, kind: str, id: str) -> None:
        """Remove a ``user`` or ``project``."""
        self._identity.delete(f"/{kind}s/{id}")

    def application_credential(
        self,
        owner: Person,
        *roles: str,
        access_rules: Sequence[tuple[str, str, str]] = (),
        unrestricted: bool = False,
        expires_at: datetime.datetime | None = None,
    ) -> Credential:
        """A new credential of the user.

        :param roles: which of his roles; all when none is named.
        :param access_rules: (service type, method, path) of what it may do; all when empty.
        """
        secret = secrets.token_urlsafe(16)
        fields: dict[str, Any] = {"name": _unique("credential"), "secret": secret}
        fields["unrestricted"] = unrestricted
        if roles:
            fields["roles"] = [{"id": self.role(role)} for role in roles]
        if access_rules:
            fields["access_rules"] = [
                {"service": service, "method": method, "path": path}
                for service, method, path in access_rules
            ]
        if expires_at is not None:
            fields["expires_at"] = expires_at.astimezone(datetime.UTC).strftime(
                "%Y-%m-%dT%H:%M:%S.%fZ"
            )
        made = self._own(owner).post(
            f"/users/{owner.id}/application_credentials", json={"application_credential": fields}
        )
        return Credential(owner, made.json()["application_credential"]["id"], secret)

    def delete_credential(self, credential: Credential) -> None:
        """Remove an application credential."""
        owner = credential.owner
        self._own(owner).delete(f"/users/{owner.id}/application_credentials/{credential.id}")

    def token(self, auth: v3.base.BaseAuth) -> str:
        """A new token by a keystoneauth plugin.

        :raises keystoneauth1.exceptions.ClientException: when Keystone refuses.
        """
        found = auth.get_token(self.session_of(auth))
        assert found is not None
        return found

    def session_of(self, auth: v3.base.BaseAuth) -> session.Session:
        """A keystoneauth session by a plugin."""
        return session.Session(auth=auth)

    def revoke_token(self, token: str) -> None:
        """Make one token worthless.

        Keystone 30 answers 404 for a token of a credential with access rules: there the credential
        has to be deleted.
        """
        self._identity.delete("/auth/tokens", headers={"X-Subject-Token": token})

    def endpoint(self, type: str, url: str, *interfaces: str) -> None:
        """A service in the catalog, for these interfaces (public, when none is named)."""
        service = self._made("service", type=type, name=type)
        for interface in interfaces or ("public",):
            self._made(
                "endpoint", service_id=service, interface=interface, url=url, region_id=REGION
            )

    def _own(self, owner: Person) -> adapter.Adapter:
        return adapter.Adapter(self.session_of(owner.auth()), endpoint_override=self.url)

    def _made(self, kind: str, **fields: Any) -> str:
        id: str = self._identity.post(f"/{kind}s", json={kind: fields}).json()[kind]["id"]
        return id


def _unique(name: str) -> str:
    return f"{name}-{secrets.token_hex(3)}"

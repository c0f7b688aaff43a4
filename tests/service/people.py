# SPDX-License-Identifier: Apache-2.0
"""Everybody who may knock at the service's door, with a token of a real Keystone each."""

from __future__ import annotations

import base64
import os

from cryptography.fernet import Fernet

from tests.services.cloud import Cloud, Credential, Person

SERVICE_TYPE = "disk-audit"
AGENT_ROLE = "diskaudit_agent"

#: Who they are; the value says it in a few words.
WHO = {
    "nobody": "without any token",
    "garbage": "with a token that is none",
    "forger": "with a token that another key has signed",
    "unscoped": "a reader, without saying of which project",
    "stranger": "with a role of another service",
    "reader": "reader of a project",
    "member": "member of a project, which implies reader",
    "auditor": "with diskaudit_auditor",
    "admin": "administrator of a project",
    "system": "administrator of the system, by a token of the system",
    "service": "with the role that OpenStack's services have",
    "agent": "an agent by its enrolled credential",
    "unenrolled": "an agent by a credential that was never enrolled",
    "password": "an agent's user by password",
}

#: Who sees everything.
OPERATORS = frozenset({"auditor", "admin"})
#: Who sees a project.
TENANTS = frozenset({"reader", "member"})
#: Whom nobody knows.
UNKNOWN = frozenset({"nobody", "garbage", "forger"})


class People:
    """One of each, and the project of those that have one."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.project = cloud.project("acme")
        self.other_project = cloud.project("evil")
        self.services = cloud.project("services")
        # Who shows the service what a token is: a service itself, and no administrator.
        self.checker = cloud.user("diskaudit", self.services, "service")
        self.reader = cloud.user("reader", self.project, "reader")
        self.other_reader = cloud.user("other", self.other_project, "reader")
        # What an installation gives to the agents' user, and one role too many.
        self.agent_user = cloud.user("agents", self.services, AGENT_ROLE, "reader")
        self.agent = cloud.application_credential(self.agent_user, AGENT_ROLE)
        self.unenrolled = cloud.application_credential(self.agent_user, AGENT_ROLE)
        self.service_user = cloud.user("nova", self.services, "service")
        self._tokens = {
            "garbage": "gAAAAABrB" + "A" * 171,
            "forger": _forged(),
            "unscoped": self.reader.token(unscoped=True),
            "stranger": cloud.user("stranger", self.project, "load-balancer_observer").token(),
            "reader": self.reader.token(),
            "member": cloud.user("member", self.project, "member").token(),
            "auditor": cloud.user("auditor", self.services, "diskaudit_auditor").token(),
            "admin": cloud.user("admin", self.services, "admin").token(),
            "system": cloud.user("system", None, "admin").token(),
            "service": self.service_user.token(),
            "agent": self.agent.token(),
            "unenrolled": self.unenrolled.token(),
            "password": cloud.user("agents", self.services, AGENT_ROLE).token(),
        }

    def token(self, who: str) -> str | None:
        """The token of one of :data:`WHO`; None for nobody."""
        return None if who == "nobody" else self._tokens[who]

    def credential_for(self, *rules: tuple[str, str]) -> Credential:
        """A new credential of the agents' user that may do no more than these (method, path)."""
        return self.cloud.application_credential(
            self.agent_user,
            AGENT_ROLE,
            access_rules=[(SERVICE_TYPE, method, path) for method, path in rules],
        )

    def tenant(self, project: str) -> Person:
        """Another reader of a project."""
        return self.cloud.user("tenant", project, "reader")


def _forged() -> str:
    """A token as Keystone makes them, by a key that it does not have."""
    key = base64.urlsafe_b64encode(os.urandom(32))
    return Fernet(key).encrypt(os.urandom(88)).decode().rstrip("=")

# SPDX-License-Identifier: Apache-2.0
"""What projects may hold: unified limits, as Keystone keeps them.

A *registered* limit has a name within a service (and perhaps a region) and a default for every
project; a *limit* overrides it for one project or one domain. -1 is unlimited. Which of them holds
for a project follows from Keystone's enforcement model (its administrator guide, "Unified Limits"):

* ``flat``: its own limit, else the default. What a domain has means nothing for its projects.
* ``strict_two_level``: its own limit, else the default or its domain's limit, whichever is less;
  and all projects of the domain together have the domain's limit, which is the default where
  none is set.

No service enforces the second model: oslo.limit (2.11), by which Nova and others ask, does not know
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple, TypeVar

import msgspec
import openstack.connection
from keystoneauth1.identity import base as identity

from nova_diskaudit.cloud import CloudError, answer
from nova_diskaudit.cloud.connection import translated
from nova_diskaudit.limits import (
    GUEST_USED,
    HOST_ALLOCATED,
    NOVA_DISK,
    SERVICE_TYPES,
    UNLIMITED,
)

_T = TypeVar("_T")

#: Words for an administrator who finds our own limits in Keystone.
DESCRIPTIONS = {
    HOST_ALLOCATED: "GiB that storage holds for the local disks of a project's servers. "
    "nova-diskaudit reports it; nothing is refused beyond it.",
    GUEST_USED: "GiB that the guests of a project say they use. "
    "nova-diskaudit reports it; nothing is refused beyond it.",
}
_OUR_TYPE, _NOVA_TYPE = SERVICE_TYPES[HOST_ALLOCATED], SERVICE_TYPES[NOVA_DISK]

#: Who sees the limits of all projects (Keystone 30, ``api/limits.py``). Anybody else gets an answer
#: as well: that of their own project.
_ROLES = frozenset({"admin", "service"})
_PAGE = 1000
_MAX_PAGES = 1000

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Gib = Annotated[int, msgspec.Meta(ge=UNLIMITED, le=2**31 - 1)]


class Service(msgspec.Struct, frozen=True):
    """A service in the catalog."""

    id: _Id
    type: _Name


class Registered(msgspec.Struct, frozen=True):
    """A registered limit."""

    id: _Id
    service_id: _Id
    resource_name: _Name
    default_limit: _Gib
    region_id: _Name | None = None


class Limit(NamedTuple):
    """One registered limit with what overrides it: GiB, or -1, by project and by domain."""

    registered: Registered
    projects: Mapping[str, int]
    domains: Mapping[str, int]


class Limits(NamedTuple):
    """All that is known of the limits that mean something here, by name; some may be missing."""

    model: str
    by_name: Mapping[str, Limit]


class _Override(msgspec.Struct):
    id: _Id
    service_id: _Id
    resource_name: _Name
    resource_limit: _Gib
    region_id: _Name | None = None
    project_id: _Id | None = None
    domain_id: _Id | None = None


class _Project(msgspec.Struct):
    id: _Id
    domain_id: _Id | None = None


class _Links(msgspec.Struct):
    next: str | None = None


class _Page(msgspec.Struct, kw_only=True):
    links: _Links = msgspec.field(default_factory=_Links)
    truncated: bool = False


class _Services(_Page):
    services: list[Service]


class _AllRegistered(_Page):
    registered_limits: list[Registered]


class _Overrides(_Page):
    limits: list[_Override]


class _Projects(_Page):
    projects: list[_Project]


class _Model(msgspec.Struct):
    name: _Name


class _TheModel(msgspec.Struct):
    model: _Model


class _TheService(msgspec.Struct):
    service: Service


class _TheRegistered(msgspec.Struct):
    registered_limit: Registered


Outcome = Literal["registered", "changed", "unchanged"]


class Keystone:
    """Keystone's API as an operator sees it."""

    def __init__(
        self, connection: openstack.connection.Connection, region: str | None = None
    ) -> None:
        """:param region: that whose limits count; None: there is one, or they are of none."""
        self._connection = connection
        self._region = region

    # --- what is set ------------------------------------------------------------------------

    def limits(self) -> Limits:
        """What the limits are now: four or five questions.

        :raises CloudError: also when these credentials would not see those of other projects.
        """
        self._require_sight()
        services = self._cut("/services", _Services).services
        registered = self._cut("/registered_limits", _AllRegistered).registered_limits
        by_name: dict[str, Limit] = {}
        for service_type in (_OUR_TYPE, _NOVA_TYPE):
            ids = {one.id for one in services if one.type == service_type}
            picked = {
                name: found
                for name, type_of in SERVICE_TYPES.items()
                if type_of == service_type and (found := self._pick(registered, ids, name))
            }
            for service_id in sorted({one.service_id for one in picked.values()}):
                query = {"service_id": service_id}
                if service_type == _NOVA_TYPE:
                    query["resource_name"] = NOVA_DISK
                overrides = self._cut("/limits", _Overrides, query).limits
                by_name |= {
                    name: _limit(one, overrides)
                    for name, one in picked.items()
                    if one.service_id == service_id
                }
        return Limits(model=self.model(), by_name=by_name)

    def model(self) -> str:
        """The enforcement model, ``flat`` or ``strict_two_level``.

        :raises CloudError:
        """
        return self._get("/limits/model", _TheModel).model.name

    def domains(self) -> dict[str, str]:
        """The domain of each project.

        :raises CloudError:
        """
        return {
            one.id: one.domain_id
            for page in self._projects()
            for one in page
            if one.domain_id is not None
        }

    def _projects(self) -> Iterator[list[_Project]]:
        """Page by page, from releases of Keystone that have pages."""
        query = {"limit": str(_PAGE)}
        seen: set[str] = set()
        for _ in range(_MAX_PAGES):
            found = self._get("/projects", _Projects, query)
            fresh = {one.id for one in found.projects} - seen
            if found.projects and not fresh:
                raise _is_cut("/projects")
            yield found.projects
            seen |= fresh
            if not found.truncated and found.links.next is None:
                return
            if not found.projects:
                return
            query["marker"] = found.projects[-1].id
        raise CloudError(f"more than {_MAX_PAGES} pages of projects")

    def _pick(
        self, all_of_them: list[Registered], services: set[str], name: str
    ) -> Registered | None:
        found = [
            one for one in all_of_them if one.resource_name == name and one.service_id in services
        ]
        if self._region is not None:
            of_region = [one for one in found if one.region_id == self._region]
            found = of_region or [one for one in found if one.region_id is None]
        if len(found) > 1:
            regions = ", ".join(sorted(one.region_id or "none" for one in found))
            raise CloudError(
                f"Keystone has several registered limits {name} (regions: {regions}): "
                "set [nova] region_name"
            )
        return found[0] if found else None

    def _require_sight(self) -> None:
        session = self._connection.session
        if not isinstance(session.auth, identity.BaseIdentityPlugin):
            return
        with translated():
            access = session.auth.get_access(session)
        if not access.system_scoped and _ROLES.isdisjoint(access.role_names or ()):
            raise CloudError(
                "these credentials do not see the limits of all projects: that needs the role "
                "admin, or a token with a system scope"
            )

    # --- what an administrator does -----------------------------------------------------------

    def services(self) -> list[Service]:
        """Those of our own type.

        :raises CloudError:
        """
        return self._cut("/services", _Services, {"type": _OUR_TYPE}).services

    def create_service(self) -> Service:
        """Make a service of our type. It has no endpoint yet.

        :raises CloudError:
        """
        wanted = {
            "type": _OUR_TYPE,
            "name": "nova-diskaudit",
            "description": "What the disks of servers hold",
        }
        return self._ask("POST", "/services", _TheService, json={"service": wanted}).service

    def register(
        self, service_id: str, name: str, default_gib: int | None
    ) -> tuple[Registered, Outcome]:
        """See to it that a limit of our own is registered in this region; what there is then.

        :param default_gib: what it shall be; None: what it is, and unlimited for a new one.
        :raises CloudError: for a default that differs also while projects have limits of their
            own: Keystone changes it only if they have none.
        """
        found = self._registered(service_id, name)
        if found is None:
            limit = {
                "service_id": service_id,
                "resource_name": name,
                "default_limit": UNLIMITED if default_gib is None else default_gib,
                "description": DESCRIPTIONS[name],
            }
            if self._region is not None:
                limit["region_id"] = self._region
            wanted = {"registered_limits": [limit]}
            try:
                made = self._ask("POST", "/registered_limits", _AllRegistered, json=wanted)
            except answer.Refused as error:
                if error.status != 409:
                    raise
                # Another one was quicker.
                found = self._registered(service_id, name)
                if found is None:
                    raise
            else:
                if len(made.registered_limits) != 1:
                    raise CloudError("Keystone does not say what it registered")
                return made.registered_limits[0], "registered"
        if default_gib is None or default_gib == found.default_limit:
            return found, "unchanged"
        path, change = f"/registered_limits/{found.id}", {"default_limit": default_gib}
        changed = self._ask("PATCH", path, _TheRegistered, json={"registered_limit": change})
        return changed.registered_limit, "changed"

    def _registered(self, service_id: str, name: str) -> Registered | None:
        query = {"service_id": service_id, "resource_name": name}
        found = self._cut("/registered_limits", _AllRegistered, query).registered_limits
        if self._region is None:
            return self._pick(found, {service_id}, name)
        return next((one for one in found if one.region_id == self._region), None)

    # --- how it is asked -----------------------------------------------------------------------

    def _cut(self, path: str, type: type[_T], query: dict[str, str] | None = None) -> _T:
        """As :meth:`_get`, for what has no pages: Keystone may be told to cut it short."""
        found = self._get(path, type, query)
        if isinstance(found, _Page) and found.truncated:
            raise _is_cut(path)
        return found

    def _get(self, path: str, type: type[_T], query: dict[str, str] | None = None) -> _T:
        return self._ask("GET", path, type, query=query)

    def _ask(
        self,
        method: str,
        path: str,
        type: type[_T],
        *,
        query: dict[str, str] | None = None,
        json: object = None,
    ) -> _T:
        return answer.ask(self._connection, "identity", method, path, type, params=query, json=json)


def _limit(registered: Registered, overrides: list[_Override]) -> Limit:
    projects: dict[str, int] = {}
    domains: dict[str, int] = {}
    for one in overrides:
        if (one.service_id, one.resource_name, one.region_id) != (
            registered.service_id,
            registered.resource_name,
            registered.region_id,
        ):
            continue
        if (one.project_id is None) == (one.domain_id is None):
            raise CloudError(f"Keystone's limit {one.id} is not of one project or one domain")
        of, id = (projects, one.project_id) if one.project_id else (domains, one.domain_id)
        assert id is not None
        if id in of:
            raise CloudError(f"Keystone has two limits {one.resource_name} of {id}")
        of[id] = one.resource_limit
    return Limit(registered, projects, domains)


def _is_cut(path: str) -> CloudError:
    return CloudError(
        f"Keystone cuts its answer to {path} short: raise list_limit in its configuration"
    )

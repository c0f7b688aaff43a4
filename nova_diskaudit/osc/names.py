# SPDX-License-Identifier: Apache-2.0
"""Projects, servers and hosts by name or by id.

Nobody needs to be allowed more in Keystone or Nova than the command itself needs: whoever may not
look a name up can give the id, and everybody knows the name of the own project.
"""

from __future__ import annotations

import argparse
import itertools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from nova_diskaudit.text import printable

if TYPE_CHECKING:
    from nova_diskaudit.sdk._proxy import DiskAuditProxy

_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)

#: So many servers are looked at where there is no token that names a project,
_ASKED = 1000
#: and so many of their projects are named where one has to be chosen.
_NAMED = 5

#: Keystone or Nova will not tell, or is not there to be asked.
_NO_WORD = (
    sdk_exceptions.ForbiddenException,
    sdk_exceptions.EndpointNotFound,
    sdk_exceptions.ServiceDisabledException,
    sdk_exceptions.NotSupported,
    ksa_exceptions.EndpointNotFound,
    ksa_exceptions.MissingAuthPlugin,
)


class Project(NamedTuple):
    """A project's id, and its name if that is known.

    ``is_certain``: not, if Keystone would not tell whether what was given is an id.
    """

    id: str
    name: str | None
    is_certain: bool = True

    @property
    def words(self) -> str:
        """How a sentence calls it."""
        return self.name or self.id


def own_project(manager: Any) -> Project | None:
    """The project of the token; None without one, as where there is no Keystone."""
    token = manager.auth_ref
    if token is None or token.project_id is None:
        return None
    return Project(token.project_id, token.project_name)


def project(manager: Any, name_or_id: str, domain: str | None) -> Project:
    """The project that somebody means.

    :param domain: name or id of the domain that a name is looked for in; None for all.
    :raises CommandError: when there is none, or several.
    """
    own = own_project(manager)
    if own is not None and name_or_id == own.id:
        return own
    if manager.auth_ref is None:
        return Project(name_or_id, None)
    identity = manager.sdk_connection.identity
    try:
        query = {}
        if domain is not None:
            query["domain_id"] = identity.find_domain(domain, ignore_missing=False).id
        found = identity.find_project(name_or_id, ignore_missing=False, **query)
    except _NO_WORD:
        if own is not None and name_or_id == own.name and _is_in(manager.auth_ref, domain):
            return own
        return Project(name_or_id, None, is_certain=False)
    except sdk_exceptions.NotFoundException as error:
        raise exceptions.CommandError(f"There is no project {name_or_id!r}") from error
    except sdk_exceptions.DuplicateResource as error:
        raise exceptions.CommandError(
            f"There are several projects called {name_or_id!r}: give the id, or --project-domain"
        ) from error
    return Project(found.id, found.name)


def chosen_project(manager: Any, parsed_args: argparse.Namespace) -> Project | None:
    """The project that ``--project`` names, or else the own one; None where there is no token."""
    if parsed_args.project:
        return project(manager, parsed_args.project, parsed_args.project_domain)
    return own_project(manager)


def check_known(project: Project | None) -> None:
    """Call this where nothing was found of a project.

    :raises CommandError: when it may be that there is none of this id.
    """
    if project is not None and not project.is_certain:
        raise exceptions.CommandError(
            f"Nothing that you may see is known of a project {project.id!r}, and Keystone does not "
            "let you look its name up: give the id"
        )


def only_project(disk_audit: DiskAuditProxy) -> Project | None:
    """Where there is no token: the one whose servers are reported; None if there is none.

    :raises CommandError: when there are several.
    """
    asked = disk_audit.instances(fields="uuid,project_id", limit=_ASKED)
    found = {one.project_id for one in itertools.islice(asked, _ASKED)} - {None}
    if len(found) > 1:
        raise exceptions.CommandError(
            "Without a token you have no project: name one with --project, such as "
            + ", ".join(sorted(map(printable, found))[:_NAMED])
        )
    return Project(found.pop(), None) if found else None


def project_names(manager: Any) -> dict[str, str]:
    """The names of projects by id: of all, or of the own one for who may not list them."""
    if manager.auth_ref is None:
        return {}
    try:
        return {one.id: one.name for one in manager.sdk_connection.identity.projects()}
    except _NO_WORD:
        own = own_project(manager)
        return {own.id: own.name} if own is not None and own.name is not None else {}


def server(manager: Any, name_or_id: str) -> str:
    """The UUID of the server that somebody means: of the own project's, or else of all.

    :raises CommandError: when there is none, or several, or nobody to ask.
    """
    if _UUID.fullmatch(name_or_id):
        return _dashed(name_or_id)
    unasked = f"Nova cannot be asked for a server called {name_or_id!r}: give its id"
    if manager.auth_ref is None:
        raise exceptions.CommandError(unasked)
    try:
        compute = manager.sdk_connection.compute
        try:
            found = compute.find_server(name_or_id, ignore_missing=False, details=False)
        except sdk_exceptions.NotFoundException:
            found = compute.find_server(
                name_or_id, ignore_missing=False, details=False, all_projects=True
            )
    except sdk_exceptions.DuplicateResource as error:
        raise exceptions.CommandError(
            f"There are several servers called {name_or_id!r}: give the id"
        ) from error
    except (sdk_exceptions.NotFoundException, sdk_exceptions.ForbiddenException) as error:
        raise exceptions.CommandError(f"There is no server {name_or_id!r}") from error
    except _NO_WORD as error:
        raise exceptions.CommandError(unasked) from error
    return str(found.id)


def host(manager: Any, name_or_id: str) -> str:
    """The name that Nova has for a host; of a hypervisor's id, that of its compute service.

    What Nova does not know, or will not tell of, is taken for a name.
    """
    if not _UUID.fullmatch(name_or_id):
        return name_or_id
    try:
        found = manager.sdk_connection.compute.get_hypervisor(_dashed(name_or_id))
    except (*_NO_WORD, sdk_exceptions.NotFoundException):
        return name_or_id
    return str(found.service_details["host"])


def _dashed(uuid: str) -> str:
    word = uuid.lower().replace("-", "")
    return "-".join((word[:8], word[8:12], word[12:16], word[16:20], word[20:]))


def _is_in(token: Any, domain: str | None) -> bool:
    return domain is None or domain in (token.project_domain_id, token.project_domain_name)

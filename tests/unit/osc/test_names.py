# SPDX-License-Identifier: Apache-2.0
"""Names and ids. What Keystone and Nova themselves do is in ``tests/service/commands``."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from nova_diskaudit.osc import names
from nova_diskaudit.osc.names import Project

TOKEN = SimpleNamespace(
    project_id="p1", project_name="acme", project_domain_id="d1", project_domain_name="Default"
)
UUID = "01bda0f0-72bc-5f9d-a981-d870cf84e8bb"


def _raise(error: Exception) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


def manager(token: Any = TOKEN, **services: Any) -> Any:
    return SimpleNamespace(auth_ref=token, sdk_connection=SimpleNamespace(**services))


def forbidden() -> Any:
    refuse = _raise(sdk_exceptions.ForbiddenException())
    return SimpleNamespace(find_project=refuse, find_domain=refuse, projects=refuse)


def test_the_own_project_needs_nobody() -> None:
    assert names.project(manager(), "p1", None) == Project("p1", "acme")
    assert names.own_project(manager()) == Project("p1", "acme")


def test_a_reader_may_give_the_own_name_but_no_other() -> None:
    reader = manager(identity=forbidden())
    assert names.project(reader, "acme", None) == Project("p1", "acme")
    assert names.project(reader, "acme", "Default").id == "p1"
    assert names.project(reader, "acme", "elsewhere") == Project("acme", None, False)
    other = names.project(reader, "other", None)
    assert other == Project("other", None, is_certain=False)
    with pytest.raises(exceptions.CommandError, match="give the id"):
        names.check_known(other)
    assert names.project_names(reader) == {"p1": "acme"}


def test_names_that_are_not_unique_or_not_there() -> None:
    several = SimpleNamespace(find_project=_raise(sdk_exceptions.DuplicateResource()))
    with pytest.raises(exceptions.CommandError, match="several projects called 'acme'"):
        names.project(manager(identity=several), "acme", None)
    nobody = SimpleNamespace(find_project=_raise(sdk_exceptions.NotFoundException()))
    with pytest.raises(exceptions.CommandError, match="no project 'x'"):
        names.project(manager(identity=nobody), "x", None)


def test_without_a_token_what_is_given_is_the_id() -> None:
    assert names.project(manager(None), "any", None) == Project("any", None)
    assert names.own_project(manager(None)) is None
    assert names.project_names(manager(None)) == {}


@pytest.mark.parametrize("written", [UUID, UUID.upper(), UUID.replace("-", "")])
def test_a_servers_id_is_not_looked_up(written: str) -> None:
    assert names.server(manager(), written) == UUID


def test_a_server_is_looked_for_in_the_own_project_first() -> None:
    asked = []

    def find_server(name: str, all_projects: bool = False, **_: Any) -> Any:
        asked.append(all_projects)
        if not all_projects:
            raise sdk_exceptions.NotFoundException()
        return SimpleNamespace(id=UUID)

    compute = SimpleNamespace(find_server=find_server)
    assert names.server(manager(compute=compute), "web") == UUID
    assert asked == [False, True]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sdk_exceptions.DuplicateResource(), "several servers called 'web'"),
        (sdk_exceptions.ForbiddenException(), "no server 'web'"),
        (sdk_exceptions.NotFoundException(), "no server 'web'"),
        (sdk_exceptions.ServiceDisabledException(), "Nova cannot be asked"),
        (sdk_exceptions.EndpointNotFound(), "Nova cannot be asked"),
    ],
)
def test_a_server_that_is_not_found(error: Exception, words: str) -> None:
    compute = SimpleNamespace(find_server=_raise(error))
    with pytest.raises(exceptions.CommandError, match=words):
        names.server(manager(compute=compute), "web")


def test_without_a_token_there_is_no_nova() -> None:
    with pytest.raises(exceptions.CommandError, match="give its id"):
        names.server(manager(None), "web")
    assert names.server(manager(None), UUID) == UUID


def test_a_host_by_the_id_of_its_hypervisor() -> None:
    found = SimpleNamespace(service_details={"host": "compute-1"})
    compute = SimpleNamespace(get_hypervisor=lambda id: found if id == UUID else None)
    assert names.host(manager(compute=compute), UUID) == "compute-1"
    assert names.host(manager(), "compute-7") == "compute-7"
    refuse = SimpleNamespace(get_hypervisor=_raise(sdk_exceptions.ForbiddenException()))
    assert names.host(manager(compute=refuse), UUID) == UUID


def test_the_only_project_where_there_is_no_token() -> None:
    def served(*projects: str | None) -> Any:
        some = [SimpleNamespace(project_id=one) for one in projects]
        return SimpleNamespace(instances=lambda **_: iter(some))

    assert names.only_project(served("p", None, "p")) == Project("p", None)
    assert names.only_project(served(None)) is None
    with pytest.raises(exceptions.CommandError, match="such as a, b\\\\x1b"):
        names.only_project(served("b\x1b", "a"))

# SPDX-License-Identifier: Apache-2.0
"""Who may ask what, how they say who they are, and what they read when there is nothing."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator

import pytest
import yaml

from nova_diskaudit import findings
from tests import reports
from tests.contract.services import central_service
from tests.service.commands import shell, small_nova
from tests.service.commands.scene import Scene, environ
from tests.service.commands.small_nova import SmallNova

HYPERVISOR = "6f1ed5ab-1c7e-44b3-9a0f-4a5b6c7d8e9f"


@pytest.fixture(scope="module")
def nova() -> Iterator[SmallNova]:
    with small_nova.serve() as server:
        yield server


def _cloud(scene: Scene, directory: pathlib.Path, who: str, **more: str) -> dict[str, str]:
    """A clouds.yaml with one cloud called ``here``."""
    person = getattr(scene, who)
    cloud = {
        "auth": {
            "auth_url": person.cloud.url,
            "username": person.name,
            "password": person.password,
            "project_id": person.project,
            "user_domain_id": "default",
        },
        "region_name": "RegionOne",
        **more,
    }
    path = directory / "clouds.yaml"
    path.write_text(yaml.safe_dump({"clouds": {"here": cloud}}))
    return {"OS_CLIENT_CONFIG_FILE": str(path)}


# --- how they say who they are ----------------------------------------------------------------


def test_by_clouds_yaml(scene: Scene, tmp_path: pathlib.Path) -> None:
    words = ("--os-cloud", "here", "disk", "usage", "show", "-f", "json")
    done = shell.openstack(*words, env=_cloud(scene, tmp_path, "rosa"))
    assert done.err == ""
    shown = json.loads(done.out)
    assert (shown["project_id"], shown["project_name"]) == (scene.acme, scene.acme_name)
    assert shown["instances"] == 5 and shown["verified"] is True


def test_by_a_token(scene: Scene) -> None:
    env = {
        "OS_AUTH_TYPE": "token",
        "OS_TOKEN": scene.rosa.token(),
        "OS_AUTH_URL": scene.cloud.url,
        "OS_PROJECT_ID": scene.acme,
    }
    done = shell.openstack("disk", "usage", "show", "-f", "value", "-c", "held", env=env)
    assert (done.status, done.out, done.err) == (0, f"{20 * 2**30}\n", "")


def test_without_keystone_on_one_machine(tmp_path: pathlib.Path) -> None:
    with central_service(tmp_path) as service:
        instances = tuple(reports.instance(f"i{number}") for number in range(2))
        stale = findings.finding("inventory-stale")
        state = reports.state("compute-1", instances, findings=(stale,))
        assert service.send(reports.full(state)).status == 200
        none = ("--os-auth-type", "none", "--os-endpoint", service.url)
        token = ("--os-auth-type", "admin_token", "--os-token", "x", "--os-endpoint", service.url)
        for words in (none, token):
            done = shell.openstack(*words, "disk", "usage", "show", "-f", "json")
            assert (done.status, done.err) == (0, "")
            shown = json.loads(done.out)
            assert (shown["instances"], shown["verified"]) == (2, False)
            assert shown["host_allocated_bytes"] == 4 * reports.GIB
        listed = shell.openstack(*none, "disk", "usage", "list", "-f", "json")
        assert len(json.loads(listed.out)) == 2
        found = shell.openstack(*none, "disk", "audit", "finding", "list", "-f", "json")
        assert "inventory-stale" in {one["code"] for one in json.loads(found.out)}
        hosts = shell.openstack(*none, "disk", "audit", "host", "list", "-f", "value", "-c", "name")
        assert hosts.out == "compute-1\n"


# --- names and ids ----------------------------------------------------------------------------


def test_an_administrator_names_projects(scene: Scene) -> None:
    env = environ(scene.admin)
    for word in (scene.acme, scene.acme_name):
        words = ("disk", "usage", "show", "--project", word, "-f", "value", "-c", "project_id")
        done = shell.openstack(*words, "-c", "instances", env=env)
        assert (done.out, done.err) == (f"{scene.acme}\n5\n", "")
    domain = ("--project", scene.acme_name, "--project-domain", "default")
    done = shell.openstack("disk", "usage", "list", *domain, "-f", "value", "-c", "name", env=env)
    assert done.out.split() == ["web-1", "db-1", "thin-1"]
    done = shell.openstack("disk", "usage", "show", "--project", "nobody", env=env)
    assert (done.status, done.out, done.err) == (1, "", "There is no project 'nobody'\n")


def test_a_reader_may_name_the_own_project(scene: Scene) -> None:
    env = environ(scene.rosa)
    for word in (scene.acme, scene.acme_name):
        words = ("disk", "usage", "show", "--project", word, "-f", "value", "-c", "instances")
        done = shell.openstack(*words, env=env)
        assert (done.status, done.out, done.err) == (0, "5\n", "")
    done = shell.openstack("disk", "usage", "show", "--project", scene.evil, env=env)
    assert done.status == 1 and done.out == "" and "give the id" in done.err


def test_an_auditor_gives_ids_of_projects(scene: Scene) -> None:
    env = environ(scene.auditor)
    words = ("disk", "usage", "show", "-f", "value", "-c", "instances", "--project")
    assert shell.openstack(*words, scene.acme, env=env).out == "5\n"
    done = shell.openstack(*words, scene.acme_name, env=env)
    assert done.status == 1 and "Keystone does not let you look its name up" in done.err


def test_servers_by_name(scene: Scene, nova: SmallNova, tmp_path: pathlib.Path) -> None:
    uuid = scene.servers["web"]
    nova.servers = {uuid: "web-1", scene.servers["db"]: "web-10"}
    nova.others = {scene.servers["hostile"]: "theirs"}
    nova.is_admin = False
    env = _cloud(scene, tmp_path, "rosa", compute_endpoint_override=nova.url)
    show = ("--os-cloud", "here", "disk", "usage", "show", "-f", "value", "-c", "ID", "--server")
    for word in ("web-1", uuid, uuid.upper()):
        done = shell.openstack(*show, word, env=env)
        assert (done.out, done.err) == (f"{uuid}\n", "")
    done = shell.openstack(*show, "theirs", env=env)
    assert (done.status, done.err) == (1, "There is no server 'theirs'\n")
    nova.servers[scene.servers["thin"]] = "web-1"
    done = shell.openstack(*show, "web-1", env=env)
    assert done.status == 1 and "several servers called 'web-1'" in done.err


def test_an_operator_names_servers_and_hosts_of_all(
    scene: Scene, nova: SmallNova, tmp_path: pathlib.Path
) -> None:
    nova.servers, nova.is_admin = {}, True
    nova.others = {scene.servers["hostile"]: "theirs"}
    nova.hypervisors = {HYPERVISOR: "compute-2"}
    env = _cloud(scene, tmp_path, "admin", compute_endpoint_override=nova.url)
    here = ("--os-cloud", "here", "disk")
    found = shell.openstack(*here, "audit", "finding", "list", "--server", "theirs", env=env)
    assert scene.servers["hostile"] in found.out and scene.servers["web"] not in found.out
    for word in (HYPERVISOR, "compute-2"):
        words = ("audit", "host", "show", word, "-f", "value", "-c", "name")
        assert shell.openstack(*here, *words, env=env).out == "compute-2\n"


# --- nothing to show --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("usage show", "Nothing is known of any server of project empty-000000."),
        (
            "usage list",
            "Nothing is known yet of any server of project empty-000000 (--all-projects shows "
            "those of all that you may see).",
        ),
        ("usage list --finding untrimmed", "No server of project empty-000000 is like that."),
        ("audit finding list", "There are no such findings."),
        (
            "usage history --start 2026-01-01 --end 2026-01-02",
            "Nobody reported of project empty-000000 from 2026-01-01 00:00:00Z on and before "
            "2026-01-02 00:00:00Z.",
        ),
    ],
)
def test_a_tenant_without_data_reads_a_sentence(scene: Scene, words: str, sentence: str) -> None:
    done = shell.openstack("disk", *words.split(), env=environ(scene.nemo))
    said = scene.plain(done.out) if "--start" not in words else done.out
    for found, fixed in scene.known.items():
        said = said.replace(found, fixed)
    assert (done.status, said, done.err) == (0, f"{sentence}\n", "")


def test_programs_get_their_empty_list_and_nulls(scene: Scene) -> None:
    env = environ(scene.nemo)
    listed = shell.openstack("disk", "usage", "list", "-f", "json", env=env)
    assert listed.status == 0 and json.loads(listed.out) == [] and listed.err
    shown = json.loads(shell.openstack("disk", "usage", "show", "-f", "json", env=env).out)
    assert shown["instances"] == 0 and shown["as_of"] is None


def test_a_list_that_is_longer_than_a_page(scene: Scene) -> None:
    env = environ(scene.auditor)
    words = ("disk", "usage", "list", "--all-projects", "-f", "value", "-c", "uuid")
    whole = shell.openstack(*words, env=env)
    assert len(whole.out.split()) == 5 and whole.err == ""
    some = shell.openstack(*words, "--limit", "4", env=env)
    assert (some.out.split(), some.err) == (whole.out.split()[:4], "")


def test_a_server_that_is_called_like_a_program_is_only_called_so(scene: Scene) -> None:
    words = ("disk", "usage", "show", "--server", scene.servers["hostile"], "-f", "shell")
    done = shell.openstack(*words, env=environ(scene.otto))
    name = shell.evaluated(done.out, "name")
    assert name == "evil\\x1b[31m\\x0a| forged |\\u202e$(touch pwned)`touch pwned`\"'\\"

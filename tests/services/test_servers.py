# SPDX-License-Identifier: Apache-2.0
"""That the servers are real, that they keep what they acknowledged, and that they leave nothing."""

import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
from keystoneauth1 import exceptions

from tests.services import daemon, place
from tests.services.cloud import Cloud
from tests.services.keystone import Keystone
from tests.services.mariadb import Mariadb
from tests.services.memcached import Memcached
from tests.services.postgresql import Postgresql

Database = Postgresql | Mariadb


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def test_what_was_committed_outlives_a_kill(database: Database) -> None:
    database.create_database("kept")
    database.sql("CREATE TABLE t (n int)", "kept")
    database.sql("INSERT INTO t VALUES (42)", "kept")
    database.kill()
    with pytest.raises(place.ServiceError):
        database.sql("SELECT 1")
    database.resume()
    assert database.sql("SELECT n FROM t", "kept") == [["42"]]
    database.terminate()
    database.resume()
    assert database.sql("SELECT n FROM t", "kept") == [["42"]]
    database.drop_database("kept")


def test_a_database_may_be_full() -> None:
    for server in (Postgresql(disk_mib=96), Mariadb(disk_mib=192)):
        with server as database:
            database.create_database("full")
            database.sql("CREATE TABLE t (s text)", "full")
            database.fill_disk()
            with pytest.raises(place.ServiceError):
                for _ in range(300):
                    database.sql("INSERT INTO t VALUES (repeat('x', 60000))", "full")
            database.free_disk()


def test_memcached_remembers(memcached: Memcached) -> None:
    with socket.create_connection(("127.0.0.1", memcached.port), 10) as client:
        client.sendall(b"set key 0 0 5\r\nvalue\r\nget key\r\n")
        said = b""
        while not said.endswith(b"END\r\n"):
            said += client.recv(100)
    assert said == b"STORED\r\nVALUE key 0 5\r\nvalue\r\nEND\r\n"


def test_keystone_knows_people_and_revokes(cloud: Cloud) -> None:
    person = cloud.user("somebody", cloud.project(), "reader")
    token = person.token()
    checked = cloud.session.get(f"{cloud.url}/auth/tokens", headers={"X-Subject-Token": token})
    assert [role["name"] for role in checked.json()["token"]["roles"]] == ["reader"]
    cloud.revoke_token(token)
    with pytest.raises(exceptions.NotFound):
        cloud.session.get(f"{cloud.url}/auth/tokens", headers={"X-Subject-Token": token})
    cloud.set_enabled("user", person.id, False)
    with pytest.raises(exceptions.Unauthorized):
        person.token()


def test_an_application_credential_has_its_access_rules(cloud: Cloud) -> None:
    owner = cloud.user("agent", cloud.project(), "reader", "diskaudit_agent")
    rules = [("disk-audit", "PUT", "/v1/hosts/a/report")]
    credential = cloud.application_credential(owner, "diskaudit_agent", access_rules=rules)
    headers = {
        "X-Subject-Token": credential.token(),
        "OpenStack-Identity-Access-Rules": "1.0",
    }
    told = cloud.session.get(f"{cloud.url}/auth/tokens", headers=headers).json()["token"]
    assert [role["name"] for role in told["roles"]] == ["diskaudit_agent"]
    (rule,) = told["application_credential"]["access_rules"]
    assert (rule["service"], rule["method"], rule["path"]) == rules[0]


def test_a_catalog_names_the_service(cloud: Cloud) -> None:
    cloud.endpoint("a-service", "http://127.0.0.1:1/", "public", "internal")
    person = cloud.user("somebody", cloud.project(), "reader")
    session = cloud.session_of(person.auth())
    found = session.get_endpoint(service_type="a-service", interface="internal")
    assert found == "http://127.0.0.1:1/"


@pytest.mark.parametrize("kind", [Postgresql, Mariadb, Memcached, Keystone])
def test_a_killed_run_leaves_no_process_and_its_directory_is_swept(
    kind: type[daemon.Daemon],
) -> None:
    script = (
        f"from {kind.__module__} import {kind.__name__} as Kind\n"
        "server = Kind(); server.start(); print(server.pid, server.directory, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        pid, directory = run.stdout.readline().split()
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while pathlib.Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the server outlived its run"
        time.sleep(0.02)
    assert pathlib.Path(directory).is_dir()
    place.sweep()
    assert not pathlib.Path(directory).exists()


def test_a_sweep_leaves_living_servers_alone(memcached: Memcached) -> None:
    place.sweep()
    assert memcached.directory.is_dir()
    assert memcached.is_ready()


def test_a_port_that_is_taken_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        choose = daemon.free_port

        def stubborn() -> int:
            ports.append(choose() if ports else taken)
            return int(ports[-1])

        monkeypatch.setattr(daemon, "free_port", stubborn)
        for kind in (Postgresql, Mariadb, Keystone):
            ports.clear()
            with kind() as server:
                assert server.port != taken
            assert len(ports) == 2

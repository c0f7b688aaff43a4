# SPDX-License-Identifier: Apache-2.0
"""``conn.disk_audit``, over the wire, with a Keystone and a service that are real servers."""

from __future__ import annotations

import pathlib
import textwrap
import urllib.parse
from collections.abc import Iterator

import openstack
import pytest
from keystoneauth1 import exceptions as ks_exceptions
from keystoneauth1 import session as ks_session
from keystoneauth1.identity import v3
from openstack import connection, exceptions

from nova_diskaudit import sdk
from nova_diskaudit.sdk import report
from tests.contract import reports
from tests.servers import keystone, recording
from tests.servers.keystone import Endpoint


@pytest.fixture
def service(tmp_path: pathlib.Path) -> Iterator[recording.Server]:
    with recording.serve(tmp_path / "chain.sqlite") as server:
        for number in range(5):
            state = reports.state({number: "", number + 10: ""}, host=f"compute-{number}")
            server.ledger.put(reports.full(state), server.now(), server.takeover_after_seconds)
        yield server


@pytest.fixture
def cloud(service: recording.Server) -> Iterator[keystone.Keystone]:
    with keystone.serve() as server:
        server.catalog = [
            Endpoint(url=service.url),
            Endpoint(url=f"{service.url}/", interface="internal", region="RegionTwo"),
        ]
        service.authorize = server.authorize
        yield server


@pytest.fixture
def conn(cloud: keystone.Keystone) -> connection.Connection:
    auth = v3.ApplicationCredential(
        cloud.url, application_credential_id="a", application_credential_secret="b"
    )
    made = connection.Connection(session=ks_session.Session(auth=auth))
    sdk.register(made)
    return made


def clouds(directory: pathlib.Path, url: str, more: str = "") -> pathlib.Path:
    path = directory / "clouds.yaml"
    head = f"""
        clouds:
          lab:
            auth_type: v3password
            auth:
              auth_url: {url}
              username: admin
              password: secret
              project_name: p
              user_domain_name: Default
              project_domain_name: Default
            region_name: RegionOne
        """
    path.write_text(textwrap.dedent(head) + textwrap.indent(more, "    "))
    return path


def test_registering_asks_nothing(conn: connection.Connection, cloud: keystone.Keystone) -> None:
    assert cloud.requests == []
    assert sdk.of(conn).service_type == "disk-audit"
    assert [seen.method for seen in cloud.requests] == ["POST"]


def test_nothing_is_asked_of_the_service_but_what_is_wanted(
    conn: connection.Connection, service: recording.Server
) -> None:
    """No version discovery: a service that is down is not asked twice."""
    sdk.of(conn).get_host("compute-1")
    assert [seen.target for seen in service.seen] == ["/v1/hosts/compute-1"]


def test_all_hosts_page_by_page(conn: connection.Connection, service: recording.Server) -> None:
    found = list(sdk.of(conn).hosts())
    assert [host.name for host in found] == [f"compute-{number}" for number in range(5)]
    assert [host.id for host in found] == [host.name for host in found]
    assert found[0].agent == reports.AGENT and found[0].storages[0]["identity"] == "fsid:1"
    assert found[0].as_of == "2026-11-23T12:00:00+00:00" and found[0].findings == []
    assert len(service.seen) == 3  # two a page


def test_a_page_is_as_long_as_it_is_wanted(
    conn: connection.Connection, service: recording.Server
) -> None:
    assert len(list(sdk.of(conn).hosts(limit=4))) == 5
    queries = [urllib.parse.parse_qs(seen.target.partition("?")[2]) for seen in service.seen]
    # openstacksdk asks once more for what would follow the last page.
    assert queries == [
        {"limit": ["4"]},
        {"limit": ["4"], "marker": ["compute-3"]},
        {"limit": ["4"], "marker": ["compute-4"]},
    ]


def test_pages_are_read_when_they_are_needed(
    conn: connection.Connection, service: recording.Server
) -> None:
    hosts = sdk.of(conn).hosts()
    assert service.seen == type(service.seen)()
    next(iter(hosts))
    assert len(service.seen) == 1


def test_all_instances_page_by_page(conn: connection.Connection) -> None:
    found = list(sdk.of(conn).instances())
    assert len(found) == 10
    first = found[0]
    assert (first.uuid, first.id, first.host) == (reports.uuid_of(0),) * 2 + ("compute-0",)
    assert first.domain == "instance-00000000" and first.state == "running"
    assert first.disks[0]["virtual_bytes"] == 2**30 and first.guest["state"] == "answered"
    assert first.project_id is None and first.filesystems == [] and first.findings == []


def test_instances_of_one_host(conn: connection.Connection, service: recording.Server) -> None:
    found = list(sdk.of(conn).instances(host="compute-3"))
    assert [one.uuid for one in found] == [reports.uuid_of(3), reports.uuid_of(13)]
    assert list(sdk.of(conn).instances(project_id="p")) == []
    assert [seen.target for seen in service.seen] == [
        "/v1/instances?host=compute-3",
        "/v1/instances?project_id=p",
    ]


def test_one_of_each(conn: connection.Connection) -> None:
    proxy = sdk.of(conn)
    assert proxy.get_host("compute-4").report_id is not None
    instance = proxy.get_instance(reports.uuid_of(2))
    assert instance.host == "compute-2" and instance.as_of == "2026-11-23T12:00:00Z"
    assert proxy.get_instance(instance).domain == "instance-00000002"
    for ask in (proxy.get_host, proxy.get_instance):
        with pytest.raises(exceptions.NotFoundException):
            ask("nobody")


def test_a_service_that_is_not_in_the_catalog(
    conn: connection.Connection, cloud: keystone.Keystone
) -> None:
    cloud.catalog = [Endpoint(url="http://127.0.0.1:1", type="compute")]
    with pytest.raises(
        (exceptions.SDKException, ks_exceptions.ClientException), match="disk-audit"
    ):
        list(sdk.of(conn).hosts())


def test_a_cloud_of_clouds_yaml_by_its_hook(
    tmp_path: pathlib.Path,
    cloud: keystone.Keystone,
    service: recording.Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the documentation tells people to write; no code of theirs knows us."""
    hook = f'vendor_hook: "{sdk.register.__module__}:{sdk.register.__name__}"\n'
    path = clouds(tmp_path, cloud.url, hook)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    with openstack.connect(cloud="lab") as conn:
        assert len(list(conn.disk_audit.hosts())) == 5  # type: ignore[attr-defined]
    assert cloud.bodies()[0]["auth"]["identity"]["password"]["user"]["name"] == "admin"


def test_options_of_clouds_yaml_reach_the_wire(
    tmp_path: pathlib.Path,
    cloud: keystone.Keystone,
    service: recording.Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud.catalog = [
        Endpoint(url="http://127.0.0.1:1"),
        Endpoint(url=f"{service.url}/inner", interface="internal"),
    ]
    more = 'vendor_hook: "nova_diskaudit.sdk:register"\ndisk_audit_interface: internal\n'
    path = clouds(tmp_path, cloud.url, more)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    conn = openstack.connect(cloud="lab")
    with pytest.raises(exceptions.NotFoundException):
        conn.disk_audit.get_host("compute-1")  # type: ignore[attr-defined]
    assert service.seen[-1].target == "/inner/v1/hosts/compute-1"


def test_two_connections_do_not_mix(
    conn: connection.Connection, cloud: keystone.Keystone, service: recording.Server
) -> None:
    """openstacksdk hangs a service on the class of the connection."""
    auth = v3.ApplicationCredential(
        cloud.url, application_credential_id="c", application_credential_secret="d"
    )
    options = {"disk_audit_interface": "internal", "region_name": "RegionTwo"}
    other = connection.Connection(session=ks_session.Session(auth=auth), **options)
    sdk.register(other)
    assert sdk.of(conn).get_host("compute-1").name == "compute-1"
    assert sdk.of(other).get_host("compute-1").name == "compute-1"
    assert sdk.of(other).session is not sdk.of(conn).session
    assert sdk.of(other).get_endpoint() == f"{service.url}/"


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("compute-1.example.org", "/v1/hosts/compute-1.example.org/report"),
        ("a/b", "/v1/hosts/a%2Fb/report"),
        ("é ?#%", "/v1/hosts/%C3%A9%20%3F%23%25/report"),
    ],
)
def test_where_a_report_is_put(host: str, path: str) -> None:
    assert report.path(host) == path


@pytest.mark.parametrize("host", ["", ".", ".."])
def test_hosts_that_a_url_cannot_name(host: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        report.path(host)

# SPDX-License-Identifier: Apache-2.0
"""The way of a report over the wire, with real servers that play Keystone and the service.

Every option of ``[disk_audit]`` is seen to reach the wire, and whatever the other side does, a
request ends with one answer.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from oslo_config import cfg

from nova_diskaudit import protocol
from nova_diskaudit.agent import transport
from nova_diskaudit.agent.publish import Answer
from nova_diskaudit.agent.transport import Transport
from nova_diskaudit.conf import ConfigurationError, disk_audit, opts
from tests.contract import reports
from tests.servers import keystone, recording
from tests.servers.certificates import Authority
from tests.servers.keystone import Endpoint

REPORT = reports.full(reports.state())
CREDENTIAL = {
    "auth_type": "v3applicationcredential",
    "application_credential_id": "the-id",
    "application_credential_secret": "the-secret",
}


def configuration(directory: pathlib.Path, text: str = "", /, **group: object) -> cfg.ConfigOpts:
    """A configuration with these options in ``[disk_audit]``, and more text after them."""
    path = directory / f"{uuid.uuid4().hex}.conf"
    lines = [f"{name} = {value}" for name, value in group.items()]
    head = "[DEFAULT]\nhost = compute-1\n[publisher]\nenabled = true\n"
    timeout = "" if "[publisher]" in text else "timeout = 20\n"
    path.write_text("\n".join([head + timeout, "[disk_audit]", *lines, text]))
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf(["--config-file", str(path)], default_config_dirs=[])
    return conf


@pytest.fixture
def service(tmp_path: pathlib.Path) -> Iterator[recording.Server]:
    with recording.serve(tmp_path / "chain.sqlite") as server:
        yield server


@pytest.fixture
def cloud(service: recording.Server) -> Iterator[keystone.Keystone]:
    """A Keystone whose catalog knows the service, and whose tokens the service believes."""
    with keystone.serve() as server:
        server.catalog = [Endpoint(url=service.url)]
        service.authorize = server.authorize
        yield server


Make = Callable[..., Transport]


@pytest.fixture
def make(tmp_path: pathlib.Path, cloud: keystone.Keystone) -> Make:
    """A transport by the usual credentials, and by what else it is given."""

    def made(text: str = "", /, **group: object) -> Transport:
        usual = CREDENTIAL | {"auth_url": cloud.url}
        return Transport(configuration(tmp_path, text, **(usual | group)))

    return made


@pytest.fixture
def direct(tmp_path: pathlib.Path, service: recording.Server) -> Callable[..., Transport]:
    """A transport without Keystone, with a second for each request."""

    def made(timeout: float = 20, **group: object) -> Transport:
        usual: dict[str, object] = {"auth_type": "none", "endpoint": service.url}
        text = f"[publisher]\ntimeout = {timeout:g}"
        return Transport(configuration(tmp_path, text, **(usual | group)))

    return made


# --- the usual way ----------------------------------------------------------------------------


def test_a_report_arrives(make: Make, service: recording.Server, cloud: keystone.Keystone) -> None:
    answer = make().send(REPORT)
    assert (answer.status, answer.current) == (200, REPORT.id)
    (seen,) = service.seen
    assert (seen.method, seen.target) == ("PUT", "/v1/hosts/compute-1/report")
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["content-encoding"] == "gzip"
    assert seen.headers["x-auth-token"] in cloud.tokens
    assert "x-service-token" not in seen.headers and "openstack-api-version" not in seen.headers
    assert seen.headers["user-agent"].startswith("nova-diskaudit-agent/")
    assert protocol.unpack(seen.body, "gzip") == protocol.encode(REPORT)
    assert service.ledger.state("compute-1") == protocol.apply(None, REPORT)


def test_one_token_serves_many_reports(
    make: Make, service: recording.Server, cloud: keystone.Keystone
) -> None:
    transport = make()
    for _ in range(3):
        assert transport.send(REPORT).status == 200
    assert [seen.method for seen in cloud.requests] == ["POST"]
    assert len(service.seen) == 3


def test_the_credential_is_named_to_keystone(make: Make, cloud: keystone.Keystone) -> None:
    make().send(REPORT)
    (body,) = cloud.bodies()
    assert body["auth"]["identity"] == {
        "methods": ["application_credential"],
        "application_credential": {"id": "the-id", "secret": "the-secret"},
    }
    assert "scope" not in body["auth"]


@pytest.mark.parametrize("host", ["nœud 1", "a%2Fb", "h?x=1#y", "compute-1.example.org"])
def test_a_host_name_survives_the_url(direct: Make, host: str, service: recording.Server) -> None:
    answer = direct().send(reports.full(reports.state(host=host)))
    assert answer.status == 200 and service.ledger.hosts() == [host]


@pytest.mark.parametrize("host", [".", ".."])
def test_a_host_name_that_a_url_would_lose(direct: Make, host: str) -> None:
    answer = direct().send(reports.full(reports.state(host=host)))
    assert answer.status is None and "cannot be part of a URL" in (answer.detail or "")


def test_a_report_that_is_too_large_is_not_even_sent(
    direct: Make, service: recording.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MAX_REPORT_BYTES", 1000)
    answer = direct().send(REPORT)
    assert answer.status == 413 and "1000" in (answer.detail or "")
    assert not service.seen


# --- every option -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({}, "internal"),
        ({"valid_interfaces": "public"}, "public"),
        ({"valid_interfaces": "admin,public"}, "admin"),
        ({"valid_interfaces": "nobody,public"}, "public"),
        ({"region_name": "RegionTwo", "valid_interfaces": "public"}, "two"),
        ({"service_name": "other"}, "named"),
        ({"service_type": "acme"}, "typed"),
        ({"endpoint_override": "URL/overridden"}, "overridden"),
        ({"endpoint_override": "URL/%(project_id)s/x"}, "p/x"),
    ],
)
def test_the_endpoint(
    make: Make,
    service: recording.Server,
    cloud: keystone.Keystone,
    group: dict[str, str],
    expected: str,
) -> None:
    url = service.url
    cloud.catalog = [
        Endpoint(url=f"{url}/typed", type="acme", interface="internal"),
        Endpoint(url=f"{url}/public"),
        Endpoint(url=f"{url}/internal", interface="internal"),
        Endpoint(url=f"{url}/admin/", interface="admin"),
        Endpoint(url=f"{url}/named", name="other", interface="internal"),
        Endpoint(url=f"{url}/two", region="RegionTwo"),
    ]
    make(**{name: value.replace("URL", url) for name, value in group.items()}).send(REPORT)
    assert [seen.target for seen in service.seen] == [f"/{expected}/v1/hosts/compute-1/report"]


#: Releases of keystoneauth differ in these.
needs_tls_options = pytest.mark.skipif(not disk_audit.TLS, reason="keystoneauth is older")


class Tls:
    """An authority, and servers that it vouches for."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.authority = Authority(directory)
        self.certificate, self.key = self.authority.make("server")

    def server(self, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(self.authority.ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.maximum_version = maximum
        return context


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def secured(
    tls: Tls, directory: pathlib.Path, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Iterator[tuple[keystone.Keystone, recording.Server]]:
    context = tls.server(maximum)
    with (
        keystone.serve(context) as cloud,
        recording.serve(directory / "tls.sqlite", tls=context) as service,
    ):
        cloud.catalog = [Endpoint(url=service.url)]
        service.authorize = cloud.authorize
        yield cloud, service


def secured_transport(
    directory: pathlib.Path, cloud: keystone.Keystone, **group: object
) -> Transport:
    usual = CREDENTIAL | {"auth_url": cloud.url}
    return Transport(configuration(directory, **(usual | group)))


@pytest.mark.parametrize(
    ("group", "well"),
    [
        ({}, False),
        ({"cafile": "CA"}, True),
        ({"insecure": "true"}, True),
        ({"insecure": "true", "tls_ciphers": "HIGH"}, True),
        ({"cafile": "CA", "tls_min_version": "1.3"}, True),
        ({"tls_min_version": "1.3"}, False),
    ],
)
def test_whose_certificates_are_believed(
    tls: Tls, tmp_path: pathlib.Path, group: dict[str, str], well: bool
) -> None:
    group = {name: value.replace("CA", str(tls.authority.ca)) for name, value in group.items()}
    with secured(tls, tmp_path) as (cloud, _):
        answer = secured_transport(tmp_path, cloud, **group).send(REPORT)
    if well:
        assert answer.status == 200, answer
    else:
        assert answer.status is None and "Keystone" in (answer.detail or "")
        assert "certificate verify failed" in (answer.detail or "")


def test_the_certificate_of_the_service_is_looked_at_as_well(
    tls: Tls, tmp_path: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Tls(tmp_path_factory.mktemp("stranger"))
    with (
        keystone.serve(tls.server()) as cloud,
        recording.serve(tmp_path / "a.sqlite", tls=stranger.server()) as service,
    ):
        cloud.catalog = [Endpoint(url=service.url)]
        answer = secured_transport(tmp_path, cloud, cafile=tls.authority.ca).send(REPORT)
        assert answer.status is None and "certificate verify failed" in (answer.detail or "")
        assert not service.seen and len(cloud.tokens) == 1


def test_our_own_certificate(tls: Tls, tmp_path: pathlib.Path) -> None:
    certificate, key = tls.authority.make("compute-1")
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    with secured(tls, tmp_path) as (cloud, service):
        for group in ({}, {"certfile": certificate, "keyfile": key}, {"certfile": both}):
            given = {"cafile": tls.authority.ca, **group}
            assert secured_transport(tmp_path, cloud, **given).send(REPORT).status == 200
        assert [seen.client_certificate for seen in service.seen] == [
            None,
            "compute-1",
            "compute-1",
        ]


@needs_tls_options
def test_how_old_tls_may_be(tls: Tls, tmp_path: pathlib.Path) -> None:
    with secured(tls, tmp_path, ssl.TLSVersion.TLSv1_2) as (cloud, _):
        for version, well in (("1.2", True), ("1.3", False)):
            given = {"cafile": tls.authority.ca, "tls_min_version": version}
            answer = secured_transport(tmp_path, cloud, **given).send(REPORT)
            assert (answer.status == 200) is well, answer


@needs_tls_options
def test_which_ciphers(tls: Tls, tmp_path: pathlib.Path) -> None:
    with secured(tls, tmp_path, ssl.TLSVersion.TLSv1_2) as (cloud, service):
        for cipher in ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"):
            given = {"cafile": tls.authority.ca, "tls_ciphers": cipher}
            assert secured_transport(tmp_path, cloud, **given).send(REPORT).status == 200
            assert service.seen[-1].cipher == cipher


@pytest.mark.parametrize("name", ["cafile", "certfile", "keyfile"])
def test_a_file_that_is_not_there(make: Make, tls: Tls, name: str, tmp_path: pathlib.Path) -> None:
    with secured(tls, tmp_path) as (cloud, _):
        given = {"cafile": tls.authority.ca, "certfile": tls.certificate, name: "/no/such.pem"}
        answer = secured_transport(tmp_path, cloud, **given).send(REPORT)
    assert answer.status is None and answer.detail and len(answer.detail) <= 300
    assert "No such file" in answer.detail or "/no/such.pem" in answer.detail


@pytest.mark.parametrize("name", ["connect_retries", "status_code_retries"])
def test_nothing_is_tried_twice_below_the_publisher(
    make: Make, service: recording.Server, name: str
) -> None:
    for status in (429, 500, 503):
        service.order("status", status=status)
        assert make(**{name: 0}).send(REPORT).status == status
    assert len(service.seen) == 3
    with pytest.raises(ConfigurationError, match=name):
        make(**{name: 1})


def test_no_connection_is_not_tried_twice(
    direct: Make, service: recording.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    connect = socket.socket.connect

    def counted(self: socket.socket, address: Any) -> None:
        made.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", counted)
    transport = direct(endpoint="http://127.0.0.1:1")
    assert transport.send(REPORT).status is None
    assert len(made) == 1


def test_the_timeout_is_for_silence(
    make: Make, service: recording.Server, cloud: keystone.Keystone
) -> None:
    service.order("hang")
    answer = make(timeout=1).send(REPORT)
    assert answer.status is None and "timed out" in (answer.detail or "")
    assert service.url in (answer.detail or "")


# --- kinds of credentials ---------------------------------------------------------------------

PASSWORD = {
    "auth_type": "v3password",
    "user_id": "the-user",
    "password": "the-password",
    "project_id": "the-project",
}
APPLICATION = {
    "auth_type": "v3applicationcredential",
    "application_credential_secret": "the-secret",
}
WHO = "identity.password.user"
BY_NAME = {"user_id": None, "username": "the-name"}
NO_PROJECT = {"project_id": None}
NAMED_PROJECT = NO_PROJECT | {"project_name": "the-name"}


def found_at(body: dict[str, Any], path: str) -> Any:
    value: Any = body["auth"]
    for word in path.split("."):
        value = value[word]
    return value


#: (option, what else is set, where it is said to Keystone)
SAID = [
    ("user_id", PASSWORD, f"{WHO}.id"),
    ("password", PASSWORD, f"{WHO}.password"),
    ("username", PASSWORD | BY_NAME | {"user_domain_id": "x"}, f"{WHO}.name"),
    ("user_domain_id", PASSWORD | BY_NAME, f"{WHO}.domain.id"),
    ("user_domain_name", PASSWORD | BY_NAME, f"{WHO}.domain.name"),
    ("project_id", PASSWORD, "scope.project.id"),
    ("project_name", PASSWORD | NO_PROJECT | {"project_domain_id": "x"}, "scope.project.name"),
    ("project_domain_id", PASSWORD | NAMED_PROJECT, "scope.project.domain.id"),
    ("project_domain_name", PASSWORD | NAMED_PROJECT, "scope.project.domain.name"),
    ("domain_id", PASSWORD | NO_PROJECT, "scope.domain.id"),
    ("domain_name", PASSWORD | NO_PROJECT, "scope.domain.name"),
    ("trust_id", PASSWORD | NO_PROJECT, "scope.OS-TRUST:trust.id"),
    (
        "application_credential_id",
        APPLICATION,
        "identity.application_credential.id",
    ),
    (
        "application_credential_secret",
        APPLICATION | {"application_credential_id": "x"},
        "identity.application_credential.secret",
    ),
    (
        "application_credential_name",
        APPLICATION | {"user_id": "x"},
        "identity.application_credential.name",
    ),
]


@pytest.mark.parametrize(("name", "others", "path"), SAID, ids=[one[0] for one in SAID])
def test_what_is_said_to_keystone(
    tmp_path: pathlib.Path,
    cloud: keystone.Keystone,
    name: str,
    others: dict[str, str | None],
    path: str,
) -> None:
    options = {key: value for key, value in others.items() if value is not None}
    options |= {name: f"value-of-{name}", "auth_url": cloud.url}
    assert Transport(configuration(tmp_path, **options)).send(REPORT).status == 200
    (body,) = cloud.bodies()
    assert found_at(body, path) == f"value-of-{name}"


def test_a_scope_of_the_whole_system(tmp_path: pathlib.Path, cloud: keystone.Keystone) -> None:
    options = {**PASSWORD, "system_scope": "all", "auth_url": cloud.url}
    del options["project_id"]
    Transport(configuration(tmp_path, **options)).send(REPORT)
    assert found_at(cloud.bodies()[0], "scope.system") == {"all": True}


def test_the_options_of_the_credentials_may_stand_elsewhere(
    tmp_path: pathlib.Path, cloud: keystone.Keystone
) -> None:
    lines = "\n".join(f"{name} = {value}" for name, value in CREDENTIAL.items())
    text = f"[keystone_agent]\nauth_url = {cloud.url}\n{lines}\n"
    conf = configuration(tmp_path, text, auth_section="keystone_agent")
    assert Transport(conf).send(REPORT).status == 200


def test_a_kind_that_looks_for_keystone_s_version(
    tmp_path: pathlib.Path, cloud: keystone.Keystone
) -> None:
    options = {**PASSWORD, "auth_type": "password", "auth_url": cloud.url}
    assert Transport(configuration(tmp_path, **options)).send(REPORT).status == 200
    assert [seen.method for seen in cloud.requests] == ["GET", "POST"]


def test_no_credentials_at_all(direct: Make, service: recording.Server) -> None:
    assert direct().send(REPORT).status == 200
    assert (
        direct(endpoint="http://127.0.0.1:1", endpoint_override=service.url).send(REPORT).status
        == 200
    )
    assert len(service.seen) == 2


def test_a_name_and_a_password_without_keystone(direct: Make, service: recording.Server) -> None:
    transport = direct(auth_type="http_basic", username="u", password="p")
    assert transport.send(REPORT).status == 200
    assert service.seen[-1].headers["authorization"] == "Basic dTpw"


def test_every_listed_option_was_seen_on_the_wire() -> None:
    """The tests above, counted: who lists a new option has to show what it does."""
    seen = {name for name, _, _ in SAID}
    seen |= {"system_scope", "auth_section", "auth_type", "auth_url", "endpoint", "timeout"}
    seen |= {"valid_interfaces", "region_name", "service_name", "service_type"}
    seen |= {"endpoint_override", "cafile", "certfile", "keyfile", "insecure"}
    seen |= {"connect_retries", "status_code_retries", *disk_audit.TLS}
    assert set(disk_audit.TLS) <= {"tls_ciphers", "tls_min_version"}
    listed = {one.dest for one in disk_audit.listed()}
    assert listed == seen


# --- what cannot be used ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ({}, "auth_type is not set"),
        ({"auth_type": "nonsense"}, "nonsense"),
        ({"auth_type": "v3applicationcredential"}, "application credential"),
        (CREDENTIAL, "auth_url"),
        (CREDENTIAL | {"auth_url": "x", "timeout": "soon"}, "timeout"),
        (CREDENTIAL | {"auth_url": "x", "timeout": "0"}, "timeout"),
        (CREDENTIAL | {"auth_url": "x", "insecure": "perhaps"}, "insecure"),
        pytest.param(
            CREDENTIAL | {"auth_url": "x", "tls_min_version": "1.1"},
            "tls_min_version",
            marks=needs_tls_options,
        ),
        pytest.param(
            CREDENTIAL | {"auth_url": "x", "tls_ciphers": "NONE-OF-THEM"},
            "cipher",
            marks=needs_tls_options,
        ),
        ({"auth_section": "elsewhere"}, "auth_type is not set"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_line(
    tmp_path: pathlib.Path, group: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Transport(configuration(tmp_path, **group))
    text = str(caught.value)
    assert says in text and "[disk_audit]" in text and "\n" not in text and len(text) < 400


# --- what Keystone does -----------------------------------------------------------------------


def test_credentials_that_keystone_refuses(
    make: Make, cloud: keystone.Keystone, service: recording.Server
) -> None:
    cloud.refuse = lambda body: 401
    transport = make()
    for _ in range(2):
        answer = transport.send(REPORT)
        assert answer.status is None
        assert answer.detail and answer.detail.startswith("Keystone: ")
        assert "requires authentication" in answer.detail and "401" in answer.detail
    cloud.refuse = lambda body: None
    assert transport.send(REPORT).status == 200


def test_a_keystone_that_is_not_there(tmp_path: pathlib.Path) -> None:
    options = CREDENTIAL | {"auth_url": "http://127.0.0.1:1/v3"}
    detail = Transport(configuration(tmp_path, **options)).send(REPORT).detail
    assert detail == (
        "Keystone: Unable to establish connection to http://127.0.0.1:1/v3/auth/tokens:"
        " [Errno 111] Connection refused"
    )


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ({}, "service disk-audit, interface internal or public (or"),
        ({"region_name": "R2"}, "region R2"),
        ({"service_name": "named"}, "named named"),
        ({"valid_interfaces": "admin"}, "interface admin"),
    ],
)
def test_a_catalog_without_the_service_is_read_again(
    make: Make,
    cloud: keystone.Keystone,
    service: recording.Server,
    group: dict[str, str],
    says: str,
) -> None:
    cloud.catalog = [Endpoint(url="http://127.0.0.1:1", type="compute")]
    transport = make(**group)
    for _ in range(2):
        answer = transport.send(REPORT)
        assert answer.status is None and says in (answer.detail or "")
    for interface in ("admin", "internal"):
        cloud.catalog.append(
            Endpoint(url=service.url, region="R2", name="named", interface=interface)
        )
    assert transport.send(REPORT).status == 200


def test_a_token_that_is_no_longer_one_is_replaced(
    make: Make, cloud: keystone.Keystone, service: recording.Server
) -> None:
    transport = make()
    assert transport.send(REPORT).status == 200
    cloud.tokens.clear()
    assert transport.send(REPORT).status == 200
    assert len(cloud.bodies()) == 2 and len(service.seen) == 3


def test_an_endpoint_that_moved_is_followed_with_the_next_token(
    make: Make, cloud: keystone.Keystone, service: recording.Server, tmp_path: pathlib.Path
) -> None:
    transport = make()
    transport.send(REPORT)
    with recording.serve(tmp_path / "moved.sqlite", authorize=cloud.authorize) as moved:
        cloud.catalog = [Endpoint(url=moved.url)]
        cloud.tokens.clear()
        # keystoneauth says it again to the old place, with a new token.
        assert transport.send(REPORT).status == 200 and not moved.seen
        assert transport.send(REPORT).status == 200 and len(moved.seen) == 1


def test_a_service_that_refuses_us(make: Make, service: recording.Server) -> None:
    service.authorize = lambda seen: 403
    answer = make().send(REPORT)
    assert (answer.status, answer.code, answer.detail) == (403, "refused", "not allowed")


# --- answers ----------------------------------------------------------------------------------


def test_a_chain_that_broke(direct: Make, service: recording.Server) -> None:
    transport = direct()
    assert transport.send(REPORT).status == 200
    answer = transport.send(reports.full(reports.state(), replaces=reports.new_id()))
    assert (answer.status, answer.code, answer.current) == (409, "report-chain", REPORT.id)
    first = transport.send(reports.full(reports.state(host="h"), replaces=reports.new_id()))
    assert (first.status, first.code, first.current) == (409, "report-chain", None)


def test_another_agent(direct: Make, service: recording.Server) -> None:
    transport = direct()
    transport.send(REPORT)
    answer = transport.send(reports.full(reports.state(), REPORT.id, reports.OTHER_AGENT))
    assert (answer.status, answer.code) == (409, "host-held")
    assert answer.retry_after_seconds is not None and 890 < answer.retry_after_seconds <= 901


def test_a_report_that_is_refused_for_good(direct: Make, service: recording.Server) -> None:
    service.order("status", status=400, code="report-invalid")
    answer = direct().send(REPORT)
    assert (answer.status, answer.code, answer.detail) == (400, "report-invalid", "as ordered")


def in_seconds(seconds: float) -> str:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return email.utils.format_datetime(then, usegmt=True)


def waits(direct: Make, service: recording.Server, said: str) -> float | None:
    service.order("status", status=429, retry_after=said)
    answer = direct().send(REPORT)
    assert answer.status == 429
    return answer.retry_after_seconds


@pytest.mark.parametrize(
    ("said", "seconds"), [("120", 120), ("0", 0), ("9" * 400, 999999999)], ids=["120", "0", "huge"]
)
def test_how_long_to_wait(
    direct: Make, service: recording.Server, said: str, seconds: float
) -> None:
    assert waits(direct, service, said) == seconds


def test_until_when_to_wait(direct: Make, service: recording.Server) -> None:
    """A date counts from the date that the answer itself carries."""
    wanted = waits(direct, service, in_seconds(100_000))
    assert wanted is not None and 99_000 < wanted <= 100_000
    assert waits(direct, service, in_seconds(-100_000)) == 0


@pytest.mark.parametrize("said", ["soon", "-5", "1.5", "Mon, 99 Nov 2026", "\xb2", "1e3"])
def test_how_long_to_wait_is_not_known(direct: Make, service: recording.Server, said: str) -> None:
    service.order("status", status=503, retry_after=said)
    answer = direct().send(REPORT)
    assert answer.status == 503 and answer.retry_after_seconds is None


def test_a_redirect_is_not_followed(
    make: Make, service: recording.Server, tmp_path: pathlib.Path
) -> None:
    with recording.serve(tmp_path / "elsewhere.sqlite") as elsewhere:
        service.order("redirect", location=f"{elsewhere.url}/v1/hosts/compute-1/report")
        answer = make().send(REPORT)
        assert answer.status == 307 and f"redirect to {elsewhere.url}" in (answer.detail or "")
        assert not elsewhere.seen


@pytest.mark.parametrize("kind", ["wrong-json", "cut-body", "endless"])
def test_an_answer_that_is_none_is_no_success(
    direct: Make, service: recording.Server, kind: recording.Kind
) -> None:
    service.order(kind)
    answer = direct().send(REPORT)
    assert answer.current is None and answer.status in (200, None)
    assert service.ledger.links()[-1].id == REPORT.id  # it was taken nevertheless
    assert direct().send(REPORT).status == 200


@pytest.mark.parametrize("kind", ["close", "drop-answer", "late"])
def test_no_answer_is_none(direct: Make, service: recording.Server, kind: recording.Kind) -> None:
    service.order(kind)
    answer = direct().send(REPORT)
    assert answer.status is None and answer.detail and service.url in answer.detail


def test_an_answer_of_somebody_else_in_between(direct: Make, service: recording.Server) -> None:
    service.order("status", status=502)
    detail = direct().send(REPORT).detail
    assert detail == "as ordered"
    listener = socket.create_server(("127.0.0.1", 0))
    texts = [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\n<p>no",
        b"HTTP/1.1 502 \x1b[31mred\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 500 X\r\nContent-Length: 31\r\n\r\n{"errors": [{"detail": [1, 2]}]}',
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"",
    ]
    with listener:
        thread = threading.Thread(target=_say, args=(listener, texts), daemon=True)
        thread.start()
        transport = direct(endpoint=f"http://127.0.0.1:{listener.getsockname()[1]}")
        answers = [transport.send(REPORT) for _ in texts]
        thread.join(10)
    assert [answer.status for answer in answers] == [502, 502, 500, None, None, None, None]
    assert answers[0].detail == "Bad Gateway" and answers[1].detail == "[31mred"
    for answer in answers:
        assert answer.current is None and answer.detail and answer.detail.isprintable()


def _say(listener: socket.socket, texts: list[bytes]) -> None:
    """To each who connects, the next of these, after the whole request."""
    for text in texts:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as request:
            length = 0
            while (line := request.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            request.read(length)
            connection.sendall(text)


# --- deadlines --------------------------------------------------------------------------------


def request_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "request"]


@pytest.mark.parametrize("kind", ["drip-head", "drip-body", "hang", "slow"])
def test_a_service_that_takes_for_ever_is_cut_off(
    direct: Make, service: recording.Server, kind: recording.Kind
) -> None:
    """Each byte comes in time, and all of them would take hours."""
    transport = direct(1)
    assert transport.send(REPORT).status == 200
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        service.order(kind, seconds=0.2 if kind.startswith("drip") else 3600)
        answer = transport.send(REPORT)
        assert answer.status is None and answer.detail == "no whole answer within 1 s"
    assert not request_threads()
    service.ending.set()
    assert transport.send(REPORT).status == 200
    assert len(os.listdir("/proc/self/fd")) <= before + 4  # the server's own ends


@pytest.mark.parametrize(
    ("data", "seconds", "says"),
    [
        ((b"x", 0.2), 2, "no whole answer within 2 s"),
        ((b"x" * 65536, 0.0), 60, "more than 4194304 bytes"),
    ],
    ids=["drips", "floods"],
)
def test_a_keystone_that_takes_for_ever_is_cut_off(
    make: Make, cloud: keystone.Keystone, data: tuple[bytes, float], seconds: int, says: str
) -> None:
    cloud.drips = data
    transport = make(f"[publisher]\ntimeout = {seconds}")
    answer = transport.send(REPORT)
    assert answer.status is None and says in (answer.detail or "")
    assert not request_threads()
    cloud.drips = None
    assert transport.send(REPORT).status == 200


def test_a_handshake_that_takes_for_ever_is_cut_off(direct: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = direct(1, endpoint=f"https://127.0.0.1:{listener.getsockname()[1]}")
        answer = transport.send(REPORT)
        assert answer.status is None and answer.detail
    assert not request_threads()


def test_a_handshake_that_drips_is_cut_off(direct: Make) -> None:
    ending = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
            while not ending.wait(0.2):
                connection.sendall(b"\0")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        transport = direct(1, endpoint=f"https://127.0.0.1:{listener.getsockname()[1]}")
        answer = transport.send(REPORT)
        ending.set()
        thread.join(10)
    assert answer.status is None and not request_threads()


def test_names_that_are_not_resolved_leave_one_thread_behind(
    direct: Make, service: recording.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    resolve = socket.getaddrinfo

    def stuck(*words: Any, **options: Any) -> Any:
        released.wait(60)
        return resolve(*words, **options)

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    transport = direct(1)
    details = [transport.send(REPORT).detail for _ in range(3)]
    assert details[0] == "no whole answer within 1 s"
    assert details[1] == details[2] == "an earlier request still hangs"
    assert len(request_threads()) == 1
    released.set()
    # Late as it is, it sends nothing any more; the next one does.
    assert transport.send(REPORT).status == 200
    assert len(service.seen) == 1


def test_an_answer_at_the_last_moment_is_one(direct: Make, service: recording.Server) -> None:
    service.order("slow", seconds=0.5)
    assert direct(20).send(REPORT) == Answer(
        status=200, current=REPORT.id, detail="OK", retry_after_seconds=None
    )


# --- the doctor's questions -------------------------------------------------------------------


def check(conf: cfg.ConfigOpts) -> list[tuple[str, str | None]]:
    return list(transport.check(conf))


def test_all_is_well(
    tmp_path: pathlib.Path, cloud: keystone.Keystone, service: recording.Server
) -> None:
    conf = configuration(tmp_path, **(CREDENTIAL | {"auth_url": cloud.url}))
    assert check(conf) == [
        ("a token", None),
        ("an endpoint", None),
        ("a report of compute-1", None),
    ]
    assert service.ledger.hosts() == []
    assert [seen.method for seen in service.seen] == ["PUT"]


def test_each_step_may_fail(
    tmp_path: pathlib.Path, cloud: keystone.Keystone, service: recording.Server
) -> None:
    conf = configuration(tmp_path, **(CREDENTIAL | {"auth_url": cloud.url}))
    service.authorize = lambda seen: 403
    assert check(conf)[2:] == [("a report of compute-1", "403: not allowed")]
    cloud.catalog = []
    assert [what for what, _ in check(conf)] == ["a token", "an endpoint"]
    assert "no endpoint in Keystone's catalog" in (check(conf)[1][1] or "")
    cloud.catalog = [Endpoint(url="http://127.0.0.1:1", type="compute")]
    assert "no endpoint in Keystone's catalog" in (check(conf)[1][1] or "")
    cloud.refuse = lambda body: 401
    ((what, why),) = check(conf)
    assert what == "a token" and "401" in (why or "")


# --- what is not imported ---------------------------------------------------------------------


def brought_along(code: str) -> set[str]:
    code += "; import json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_the_transport_brings_no_libvirt_along() -> None:
    loaded = brought_along("import nova_diskaudit.agent.transport")
    assert "openstack" in loaded and not loaded & {"libvirt", "libvirt_qemu", "eventlet"}


def test_switched_off_nothing_of_it_is_there(tmp_path: pathlib.Path) -> None:
    code = f"""
import pathlib, threading
from oslo_config import cfg
from nova_diskaudit.agent.publishing import Publishing
from nova_diskaudit.conf import opts
conf = cfg.ConfigOpts(); opts.register(conf); conf([], default_config_files=[])
publishing = Publishing(conf, pathlib.Path({str(tmp_path)!r}))
publishing.use(conf); publishing.append(None, ''); publishing.wake(); publishing.status()
stop = threading.Event(); stop.set(); publishing.run(stop); publishing.close()"""
    loaded = brought_along(code)
    assert not loaded & {"keystoneauth1", "openstack", "requests", "libvirt"}
    assert list(tmp_path.iterdir()) == []

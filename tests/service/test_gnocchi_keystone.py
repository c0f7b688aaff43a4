# SPDX-License-Identifier: Apache-2.0
"""Gnocchi behind Keystone: what the service's user has to be, and what tenants see there."""

from __future__ import annotations

import datetime
import pathlib

import pytest
import sqlalchemy as sa

from nova_diskaudit.cloud import CloudError, gnocchi
from nova_diskaudit.cmd import manage
from nova_diskaudit.conf import service
from nova_diskaudit.sinks import gnocchi as sink
from tests import reports
from tests.services.api import auth_token
from tests.services.cloud import Cloud as Keystone
from tests.services.cloud import Person
from tests.services.gnocchi import Gnocchi
from tests.services.keystone import Keystone as KeystoneServer
from tests.services.postgresql import Postgresql
from tests.unit.store.test_instance import Cloud, minutes

SERVERS = ("sqlite",)
DISKS = f"/v1/resource/{gnocchi.RESOURCE_TYPE}"


def configuration(path: pathlib.Path, engine: sa.Engine, keystone: Keystone, who: Person) -> str:
    """As an operator writes it: the endpoint is in the catalog."""
    path.write_text(
        f"[database]\nconnection = {engine.url}\n"
        "[gnocchi]\nenabled = true\nauth_type = password\n"
        f"auth_url = {keystone.url}\nuser_id = {who.id}\npassword = {who.password}\n"
        f"project_id = {who.project}\n"
    )
    return str(path)


def test_a_plain_service_user_sends_and_tenants_see_their_own(
    engine: sa.Engine,
    keystone: KeystoneServer,
    cloud: Keystone,
    postgresql: Postgresql,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    services = cloud.project("services")
    red, blue = cloud.project("red"), cloud.project("blue")
    checker = cloud.user("gnocchi", services, "admin", "service")
    reader = cloud.user("reader", services, "reader")
    sender = cloud.user("diskaudit", services, "service")
    tenants = {project: cloud.user("reader", project, "reader") for project in (red, blue)}
    here = Cloud(engine)
    for name, project in (("one", red), ("two", blue)):
        here.nova(name, host="a", project_id=project)
    here.sees("a", "one", "two")

    with Gnocchi(postgresql, auth_token=auth_token(keystone, checker)) as server:
        cloud.endpoint("metric", server.url, "internal", "public")
        by_sender = configuration(tmp_path / "sender.conf", engine, cloud, sender)
        by_reader = configuration(tmp_path / "reader.conf", engine, cloud, reader)
        setup = ["gnocchi", "setup"]
        assert manage.main(["--config-file", by_reader, *setup]) == 2
        assert "Gnocchi answered 403" in capsys.readouterr().err
        assert manage.main(["--config-file", by_sender, *setup]) == 0

        to = gnocchi.connect(service.read([by_sender]))
        done = sink.push(
            engine, to, now=minutes(1), archive_policy="nova-diskaudit", whole_every_seconds=60
        )
        assert (done.instances, done.measures, done.refused) == (2, 28, 0)
        for name, project in (("one", red), ("two", blue)):
            client = cloud.session_of(tenants[project].auth())
            seen = client.get(f"{server.url}{DISKS}").json()
            assert {one["instance_id"] for one in seen} == {reports.uuid_of(name)}
            metric = seen[0]["metrics"]["diskaudit.host_allocated_bytes"]
            told = client.get(
                f"{server.url}/v1/metric/{metric}/measures?refresh=true&aggregation=last"
                "&granularity=3600"
            ).json()
            hour = reports.NOW.replace(minute=0, second=0)
            assert [datetime.datetime.fromisoformat(told[0][0]), told[0][2]] == [
                hour,
                float(reports.GIB),
            ]
        cloud.set_enabled("user", sender.id, False)
        fresh = gnocchi.connect(service.read([by_sender]))
        with pytest.raises(CloudError, match="Unauthorized"):
            sink.push(engine, fresh, now=minutes(9), archive_policy="x", whole_every_seconds=60)

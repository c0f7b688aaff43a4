# SPDX-License-Identifier: Apache-2.0
"""``/metrics`` on a listener of its own, by the file for uWSGI as it is shipped, and by
``nova-diskaudit-api``.
"""

from __future__ import annotations

import pathlib

from tests.service import wire
from tests.service.stage import Stage, settings
from tests.services.api import LocalApi, MetricsApi
from tests.services.daemon import free_port
from tests.services.keystone import Keystone


def _told(port: int) -> None:
    answer = wire.ask(port, "GET", "/metrics")
    assert answer.status == 200
    assert b"nova_diskaudit_project_host_allocated_bytes{project_id=" in answer.body
    forwarded = wire.ask(port, "GET", "/metrics", headers=[("X-Forwarded-For", "192.0.2.7")])
    assert (forwarded.status, forwarded.code) == (403, "forbidden")
    for target in ("/v1/instances", "/v1/usages", "/"):
        assert wire.ask(port, "GET", target).status == 404
    assert wire.ask(port, "POST", "/metrics", body=b"").status == 405


def test_by_its_file_for_uwsgi(stage: Stage, keystone: Keystone) -> None:
    """With the configuration of the service, which asks Keystone about everybody else."""
    url = stage.engine.url.render_as_string(hide_password=False)
    options = settings(keystone, stage.people, url)
    with MetricsApi(options, processes=1) as api:
        _told(api.port)


def test_by_the_command(stage: Stage, tmp_path: pathlib.Path) -> None:
    """On a copy: this one does the periodic work itself, and the stage's hosts are of long ago."""
    copy = tmp_path / "copy.sqlite"
    with stage.engine.connect() as connection:
        connection.connection.driver_connection.execute("VACUUM INTO ?", (str(copy),))  # type: ignore[union-attr]  # of sqlite3
    port = free_port()
    options = {
        "api": {"auth_strategy": "noauth", "metrics_port": port},
        "database": {"connection": f"sqlite:///{copy}"},
    }
    with LocalApi(options) as api:
        _told(port)
        assert wire.ask(api.port, "GET", "/metrics").status == 200

# SPDX-License-Identifier: Apache-2.0
"""A server that answers as a test says, and connections that take it for the cloud."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from oslo_config import cfg

from nova_diskaudit.conf import service
from tests.canned import Canned


@pytest.fixture
def canned() -> Iterator[Canned]:
    """With what openstacksdk looks at first: which versions there are."""
    with Canned() as server:
        links = [{"rel": "self", "href": ""}]
        v1 = {"id": "v1.0", "status": "CURRENT", "min_version": "1.0", "max_version": "1.39"}
        server.answers["/"] = {"versions": [v1 | {"links": links}]}
        links = [{"rel": "self", "href": f"{server.url}/v3/"}]
        v3 = {"id": "v3.14", "status": "stable", "links": links}
        server.answers["/v3"] = {"version": v3}
        yield server


@pytest.fixture
def conf(canned: Canned, tmp_path: pathlib.Path) -> cfg.ConfigOpts:
    file = tmp_path / "nova-diskaudit-api.conf"
    file.write_text(
        "[nova]\nauth_type = none\ntimeout = 5\n"
        f"[placement]\nendpoint_override = {canned.url}\n"
        f"[keystone]\nendpoint_override = {canned.url}/v3\n"
    )
    return service.read([str(file)])

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
    with Canned.of_the_cloud() as server:
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

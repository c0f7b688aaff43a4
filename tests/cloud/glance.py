# SPDX-License-Identifier: Apache-2.0
"""Glance: images, kept as files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import ClassVar

from tests.cloud import environment
from tests.cloud.service import Web
from tests.services.api import Settings


class Glance(Web):
    """One API, under waitress."""

    NAME: ClassVar[str] = "glance"
    CONF: ClassVar[str] = "glance-api.conf"
    MODULE: ClassVar[str] = "glance.wsgi.api"

    def __init__(self, database: str, authtoken: Mapping[str, object]) -> None:
        """:param authtoken: options of ``[keystone_authtoken]``."""
        super().__init__()
        self._database = database
        self._authtoken = authtoken

    def prepare(self) -> None:
        super().prepare()
        shutil.copy(environment.programs() / "etc/glance/glance-api-paste.ini", self.directory)

    def command(self) -> list[str]:
        # Nova sends images in pieces without a length, at which uWSGI 2.0 fails now and then.
        return [
            *(str(environment.programs() / "bin/waitress-serve"), "--host=127.0.0.1"),
            *(f"--port={self.port}", f"--threads={self.THREADS}", f"{self.MODULE}:application"),
        ]

    def settings(self) -> Settings:
        def store(name: str) -> Mapping[str, object]:
            return {"filesystem_store_datadir": self.data / name}

        return {
            "DEFAULT": {"enabled_backends": "files:file"},
            "database": {"connection": self._database},
            "keystone_authtoken": self._authtoken,
            "paste_deploy": {"flavor": "keystone"},
            "glance_store": {"default_backend": "files"},
            "files": store("images"),
            "os_glance_staging_store": store("staging"),
            "os_glance_tasks_store": store("tasks"),
        }

    def environ(self) -> Mapping[str, str]:
        return {"OS_GLANCE_CONFIG_DIR": str(self.directory)}

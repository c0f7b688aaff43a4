# SPDX-License-Identifier: Apache-2.0
"""Placement: who may have how much of what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tests.cloud.service import Web
from tests.services.api import Settings


class Placement(Web):
    """One API."""

    NAME: ClassVar[str] = "placement"
    CONF: ClassVar[str] = "placement.conf"
    MODULE: ClassVar[str] = "placement.wsgi.api"

    def __init__(self, database: str, authtoken: Mapping[str, object]) -> None:
        """:param authtoken: options of ``[keystone_authtoken]``."""
        super().__init__()
        self._database = database
        self._authtoken = authtoken

    def settings(self) -> Settings:
        return {
            "api": {"auth_strategy": "keystone"},
            "placement_database": {"connection": self._database},
            "keystone_authtoken": self._authtoken,
        }

    def environ(self) -> Mapping[str, str]:
        return {"OS_PLACEMENT_CONFIG_DIR": str(self.directory)}

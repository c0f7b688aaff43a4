# SPDX-License-Identifier: Apache-2.0
"""Discovery, as the API guidelines have it."""

from __future__ import annotations

import msgspec

from nova_diskaudit.api.schemas.common import Link


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the API. There is one, without microversions."""

    id: str
    status: str
    min_version: str
    max_version: str
    links: tuple[Link, ...]


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    versions: tuple[Version, ...]

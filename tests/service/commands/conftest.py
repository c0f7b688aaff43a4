# SPDX-License-Identifier: Apache-2.0
"""A Keystone of their own, since the catalog is part of what is tested."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.commands import scene as scene_module
from tests.service.commands.scene import Scene
from tests.services.keystone import Keystone
from tests.services.sqlite import Sqlite


@pytest.fixture(scope="package")
def scene(sqlite: Sqlite) -> Iterator[Scene]:
    with Keystone() as keystone, scene_module.set_up(keystone, sqlite) as some:
        yield some

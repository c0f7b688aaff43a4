# SPDX-License-Identifier: Apache-2.0
"""The compute node that all of these tests have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hypervisor import Hypervisor


@pytest.fixture
def hypervisor() -> Iterator[Hypervisor]:
    with Hypervisor("host") as some:
        yield some

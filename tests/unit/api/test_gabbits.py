# SPDX-License-Identifier: Apache-2.0
"""The behaviour of the API as requests and answers that read as documentation: ``gabbits/``."""

from __future__ import annotations

import pathlib

import pytest
from gabbi import driver

# gabbi makes its tests of this function.
from gabbi.driver import test_pytest  # noqa: F401

from tests.unit.api import gabbi_fixtures


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    driver.py_test_generator(
        str(pathlib.Path(__file__).parent / "gabbits"),
        intercept=gabbi_fixtures.application,
        fixture_module=gabbi_fixtures,
        test_loader_name=__name__,
        metafunc=metafunc,
    )

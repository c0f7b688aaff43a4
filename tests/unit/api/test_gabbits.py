# SPDX-License-Identifier: Apache-2.0
"""The behaviour of the API as requests and answers that read as documentation: ``gabbits/``."""

from __future__ import annotations

import pathlib
import unittest

import pytest
from gabbi import driver

from tests.unit.api import gabbi_fixtures

DIRECTORY = pathlib.Path(__file__).parent / "gabbits"
FILES = sorted(DIRECTORY.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_requests_and_answers(file: pathlib.Path) -> None:
    # Not by gabbi's plugin for pytest: it takes every test with a colon in its name for its own.
    suites = driver.build_tests(
        str(DIRECTORY),
        unittest.TestLoader(),
        intercept=gabbi_fixtures.application,
        fixture_module=gabbi_fixtures,
        test_loader_name=file.stem,
    )
    result = unittest.TestResult()
    ran = 0
    for suite in suites:
        tests = list(suite)
        if type(tests[0]).__name__.startswith(f"{file.stem}_"):
            ran = len(tests)
            suite.run(result)
    assert ran and result.testsRun == ran
    assert not result.skipped
    for test, trace in (*result.errors, *result.failures):
        pytest.fail(f"{test}\n{trace}")

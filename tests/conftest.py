# SPDX-License-Identifier: Apache-2.0
"""Fixtures that tests of several directories share."""

pytest_plugins = ["tests.services.fixtures"]

# SPDX-License-Identifier: Apache-2.0
"""Whose rows a reader may see. Every function that reads what belongs to tenants asks for it."""

from __future__ import annotations

from typing import NamedTuple


class Everything(NamedTuple):
    """All projects, and what belongs to none."""


class OfProject(NamedTuple):
    """What is verified to belong to one project."""

    project_id: str


Scope = Everything | OfProject

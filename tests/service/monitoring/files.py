# SPDX-License-Identifier: Apache-2.0
"""What is shipped, read."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import yaml

ETC = pathlib.Path(__file__).parents[3] / "etc/nova-diskaudit"
RECORDING = ETC / "prometheus/nova-diskaudit-recording.yml"
ALERTS = ETC / "prometheus/nova-diskaudit-alerts.yml"
DASHBOARD = ETC / "grafana/nova-diskaudit.json"

_METRIC = re.compile(r"\bnova_diskaudit_\w+|\b\w+:nova_diskaudit_[\w:]+")


def rules(path: pathlib.Path) -> list[dict[str, Any]]:
    """All rules of a file."""
    groups = yaml.safe_load(path.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> set[str]:
    """Names of series that the recording rules make."""
    return {rule["record"] for rule in rules(RECORDING)}


def alerts() -> dict[str, dict[str, Any]]:
    """Alerting rules by name."""
    return {rule["alert"]: rule for rule in rules(ALERTS)}


def dashboard() -> dict[str, Any]:
    """The dashboard's model."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels(model: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels, those of closed rows too."""
    for panel in model["panels"]:
        yield panel
        yield from panel.get("panels", ())


def metrics(expression: str) -> set[str]:
    """Names of our series in an expression, recorded ones as they are written."""
    found = set()
    for name in _METRIC.findall(expression):
        found.add(name)
    return found

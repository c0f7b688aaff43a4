# SPDX-License-Identifier: Apache-2.0
"""The dashboard's form, by Grafana's own types: there is no Grafana here to load it into.

What its queries answer is held in ``test_prometheus``.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import pathlib
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard, stat, table, timeseries

from tests.service.monitoring import files

PANELS = list(files.panels(files.dashboard()))
#: Of each kind of panel: its own options, and those of its fields.
TYPES: dict[str, tuple[type[Any], type[Any] | None]] = {
    "stat": (stat.Options, None),
    "table": (table.Options, None),
    "timeseries": (timeseries.Options, timeseries.FieldConfig),
}


def titled(panel: dict[str, Any]) -> str:
    return f"{panel['id']} {panel['title']}"


def through(kind: type[Any], value: dict[str, Any]) -> dict[str, Any]:
    """What Grafana's type keeps of a value: all that it knows."""
    found: dict[str, Any] = json.loads(JSONEncoder().encode(kind.from_json(value)))
    return found


def lost(given: Any, kept: Any, path: str = "") -> list[str]:
    """Where something that was given is not kept."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            one
            for name, value in given.items()
            for one in (
                lost(value, kept[name], f"{path}/{name}") if name in kept else [f"{path}/{name}"]
            )
        ]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        pairs = enumerate(zip(given, kept, strict=True))
        return [one for at, (a, b) in pairs for one in lost(a, b, f"{path}/{at}")]
    return [] if given == kept else [path]


def test_it_is_what_its_source_makes() -> None:
    path = pathlib.Path(__file__).parents[3] / "tools/dashboard.py"
    spec = importlib.util.spec_from_file_location("dashboard_source", path)
    assert spec is not None and spec.loader is not None
    source = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(source)
    assert files.DASHBOARD.read_text() == source.made(), "run tools/dashboard.py"


def test_grafanas_types_know_every_field() -> None:
    model = files.dashboard()
    assert lost(model, through(dashboard.Dashboard, model)) == []


def test_a_field_that_grafana_does_not_know_is_found() -> None:
    model = {**files.dashboard(), "no_such_field": 1}
    assert lost(model, through(dashboard.Dashboard, model)) == ["/no_such_field"]


@pytest.mark.parametrize("panel", [one for one in PANELS if one["type"] != "row"], ids=titled)
def test_a_panel_is_one_of_its_kind(panel: dict[str, Any]) -> None:
    options, fields = TYPES[panel["type"]]
    given = panel.get("options", {})
    assert lost(given, through(options, given)) == []
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    if fields is not None:
        assert lost(custom, through(fields, custom)) == []
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    names = [target["refId"] for target in panel["targets"]]
    assert names == sorted(set(names)) and all(names)


def test_panels_lie_beside_each_other() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        lines = range(place["y"], place["y"] + place["h"])
        cells = set(itertools.product(columns, lines))
        assert columns.stop <= 24
        assert not cells & taken, titled(panel)
        taken |= cells


def test_every_table_has_its_columns() -> None:
    """What is renamed and given a unit is what the queries give."""
    for panel in PANELS:
        if panel["type"] == "table":
            targets = [target["refId"] for target in panel["targets"]]
            (organize,) = (t for t in panel["transformations"] if t["id"] == "organize")
            renamed = organize["options"]["renameByName"]
            values = [f"Value #{name}" for name in targets] if len(targets) > 1 else ["Value"]
            assert list(renamed) == values
            units = [one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]]
            assert sorted(units) == sorted(renamed.values())

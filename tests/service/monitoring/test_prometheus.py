# SPDX-License-Identifier: Apache-2.0
"""Rules and dashboard in a real Prometheus that looks at what is really exported."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

import pytest

from tests.service.monitoring import files
from tests.service.monitoring.scene import Scene, set_up
from tests.services.sqlite import Sqlite


@pytest.fixture(scope="module")
def scene(sqlite: Sqlite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with set_up(sqlite, pathlib.Path(tmp_path_factory.mktemp("agents"))) as some:
        # Some looks, so that rates can be told; and what is recorded of what is recorded.
        some.eventually("count_over_time(storage:nova_diskaudit_storage_outstanding:ratio[1m]) > 3")
        some.eventually("count_over_time(nova_diskaudit_service_hosts[1m]) > 3")
        yield some


def test_everybody_who_is_there_is_read(scene: Scene) -> None:
    up = scene.prometheus.values("sum by (job) (up)")
    assert up == {
        (("job", "nova-diskaudit-agent"),): 2,
        (("job", "nova-diskaudit-service"),): 1,
    }
    read = scene.prometheus.values("count(scrape_samples_scraped > 0)")
    assert list(read.values()) == [3]


def test_no_rule_fails(scene: Scene) -> None:
    groups = scene.prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(files.rules(files.RECORDING)) + len(files.rules(files.ALERTS))
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


@pytest.mark.parametrize("name", sorted(files.recorded()))
def test_every_recorded_series_is_there(scene: Scene, name: str) -> None:
    assert scene.eventually(name)


def test_a_shared_storage_is_counted_once(scene: Scene) -> None:
    total = scene.eventually('storage:nova_diskaudit_storage_total_bytes:max{storage=~".*/shared"}')
    assert list(total.values()) == [100 * 2**30]
    promised = scene.eventually(
        'storage:nova_diskaudit_storage_virtual_bytes:sum{storage=~".*/shared"}'
    )
    assert list(promised.values()) == [80 * 2**30]


def test_every_alert_is_raised_by_what_is_wrong_and_says_so(scene: Scene) -> None:
    for alert in files.alerts():
        scene.eventually(f'ALERTS{{alertname="{alert}"}}')
    raised = scene.prometheus.ask("alerts")["alerts"]
    well = scene.agents["compute-1"]
    for one in raised:
        assert one["labels"].get("instance") != well, "the host that is well"
        for text in one["annotations"].values():
            assert "error expanding" not in text and "<no value>" not in text, one
    firing = {one["labels"]["alertname"] for one in raised if one["state"] == "firing"}
    assert "NovaDiskauditStatesLost" in firing


# --- names ------------------------------------------------------------------------------------


def shipped() -> dict[str, set[str]]:
    """Names of our series by where they are used."""
    found = {}
    for path in (files.RECORDING, files.ALERTS):
        for rule in files.rules(path):
            found[rule.get("record") or rule["alert"]] = files.metrics(rule["expr"])
    for panel in files.panels(files.dashboard()):
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = files.metrics(target["expr"])
    return found


def test_every_name_is_one_that_is_exported(scene: Scene) -> None:
    known = set(scene.prometheus.ask("label/__name__/values"))
    unknown = {where: names - known for where, names in shipped().items() if names - known}
    assert unknown == {}


def test_there_are_names_at_all() -> None:
    assert all(
        names
        for where, names in shipped().items()
        if not where.startswith(("Alerts ", "NovaDiskauditAgentDown", "NovaDiskauditServiceDown"))
    )


# --- the dashboard ----------------------------------------------------------------------------

EXPRESSIONS = {
    f"{panel['id']} {panel['title']} {target['refId']}": target["expr"]
    for panel in files.panels(files.dashboard())
    for target in panel.get("targets", ())
}


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_query_of_the_dashboard_has_an_answer(scene: Scene, where: str) -> None:
    expression = re.sub(r"\$(project|host)\b", ".*", EXPRESSIONS[where])
    assert "$" not in expression
    assert scene.eventually(expression)


def test_the_legends_name_labels_that_there_are(scene: Scene) -> None:
    for panel in files.panels(files.dashboard()):
        for target in panel.get("targets", ()):
            expression = re.sub(r"\$(project|host)\b", ".*", target["expr"])
            labels = {name for one in scene.eventually(expression) for name, _ in one}
            legend = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            assert legend <= labels, (panel["title"], legend, labels)


def test_the_variables_have_values(scene: Scene) -> None:
    found = {}
    for variable in files.dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert asked is not None
            path = f"label/{asked[2]}/values"
            found[variable["name"]] = scene.prometheus.ask(path, **{"match[]": asked[1]})
    assert sorted(found["project"]) == ["(others)", "blue", "red"]
    assert sorted(found["host"]) == sorted(scene.agents.values())


def test_a_project_can_be_chosen(scene: Scene) -> None:
    # As Grafana writes a name with characters that mean something in a regular expression.
    chosen = 'max by (project_id) (nova_diskaudit_project_virtual_bytes{project_id=~"red"})'
    assert list(scene.eventually(chosen)) == [(("project_id", "red"),)]

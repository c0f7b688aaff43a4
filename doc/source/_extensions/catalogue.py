# SPDX-License-Identifier: Apache-2.0
"""Pages that come from what is shipped: ``findings-catalogue``, ``lab-catalogue`` and
``prometheus-alerts``.
"""

import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from nova_diskaudit import findings
from tests.lab import catalogue

SEVERITIES = ("error", "warning", "info")
ALERTS = (
    pathlib.Path(__file__).parents[3] / "etc/nova-diskaudit/prometheus/nova-diskaudit-alerts.yml"
)


def all_findings() -> Iterator[str]:
    """The lines of the page, as reStructuredText."""
    for severity in SEVERITIES:
        yield from (f".. rubric:: {severity}", "")
        for entry in findings.CATALOGUE.values():
            if entry.severity == severity:
                yield from (f".. _finding-{entry.code}:", "")
                yield f"``{entry.code}``"
                yield f"    {_plain(entry.cause)}"
                yield ""
                yield f"    *To do:* {_plain(entry.action)}"
                yield ""


def lab_rows() -> Iterator[str]:
    """Which scenario of the lab stands for which row, and which rows have none."""
    for title, section in catalogue.SECTIONS.items():
        yield from (f".. rubric:: {_plain(title.partition(': ')[2].capitalize())}", "")
        yield from (".. list-table::", "   :widths: 40 60", "")
        for entry in section:
            named = ", ".join(f"``{name}``" for name in entry.scenarios)
            yield f"   * - {_plain(entry.row)}"
            yield f"     - {named or 'none: ' + _plain(entry.why_not)}"
        yield ""


def prometheus_alerts() -> Iterator[str]:
    """Every alert, with what it means and what to do."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from (f".. rubric:: {_plain(group['name'].removeprefix('nova-diskaudit-'))}", "")
        for rule in group["rules"]:
            waits = f", after {rule['for']}" if "for" in rule else ""
            words = rule["annotations"]
            yield f"``{rule['alert']}`` ({rule['labels']['severity']}{waits})"
            yield f"    {_plain(words['description'])}"
            yield ""
            yield f"    *To do:* {_plain(words['action'])}"
            yield ""


def _plain(text: str) -> str:
    """Words that are no markup."""
    return "".join(f"\\{mark}" if mark in "\\*`_|" else mark for mark in text)


class Generated(SphinxDirective):
    """A directive that takes nothing and stands for generated lines."""

    source: ClassVar[str]
    lines: ClassVar[Callable[[], Iterable[str]]]

    def run(self) -> list[nodes.Node]:
        """Parse the generated lines where the directive stands."""
        self.env.note_dependency(self.source)
        holder = nodes.container()
        lines = type(self).lines()
        self.state.nested_parse(StringList(list(lines), self.source), 0, holder)
        return holder.children


class Findings(Generated):
    """Every code, with its cause and what to do."""

    source = findings.__file__
    lines = staticmethod(all_findings)


class LabRows(Generated):
    """Every row of the tables of numbers, with its scenarios."""

    source = catalogue.__file__
    lines = staticmethod(lab_rows)


class PrometheusAlerts(Generated):
    """Every alert of the rules that are shipped."""

    source = str(ALERTS)
    lines = staticmethod(prometheus_alerts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("findings-catalogue", Findings)
    app.add_directive("lab-catalogue", LabRows)
    app.add_directive("prometheus-alerts", PrometheusAlerts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

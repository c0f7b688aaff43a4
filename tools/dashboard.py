#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the Grafana dashboard anew, from what stands here.

    .venv/bin/python tools/dashboard.py > etc/nova-diskaudit/grafana/nova-diskaudit.json

Grafana's own SDK knows which fields there are; a test holds the shipped file against this one.
"""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard

_SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
_BYTES, _RATIO, _SECONDS = "bytes", "percentunit", "s"
#: Grafana's grid has so many columns.
_WIDTH = 24
#: What Grafana calls the queries of a panel.
_LETTERS = "ABCDEFGHIJ"

_HOST = '{instance=~"$host"}'
_PROJECT = '{project_id=~"$project"}'


def query(expression: str, legend: str = "", *, instant: bool = False) -> prometheus.Dataquery:
    """One query of a panel."""
    made = prometheus.Dataquery().expr(expression).legend_format(legend)
    return made.instant() if instant else made.range()


def number(
    title: str, words: str, expression: str, unit: str, *, warn: float | None = None, width: int = 4
) -> stat.Panel:
    """A large number; orange from ``warn`` on."""
    panel = (
        stat.Panel()
        .title(title)
        .description(words)
        .datasource(_SOURCE)
        .unit(unit)
        .no_value("not known")
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(query(expression, instant=True).ref_id("A"))
        .height(4)
        .span(width)
    )
    steps = [dashboard.Threshold(value=None, color="text" if warn is None else "green")]
    if warn is not None:
        steps.append(dashboard.Threshold(value=warn, color="orange"))
    absolute = dashboard.ThresholdsMode.ABSOLUTE
    return panel.thresholds(build.ThresholdsConfig().mode(absolute).steps(steps))


def curves(
    title: str, words: str, unit: str, *queries: prometheus.Dataquery, width: int = 12
) -> timeseries.Panel:
    """Lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(words)
        .datasource(_SOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(8)
        .span_nulls(False)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            build_common.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            build_common.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        .height(8)
        .span(width)
    )
    for letter, one in zip(_LETTERS, queries, strict=False):
        panel = panel.with_target(one.ref_id(letter))
    return panel


def rows(
    title: str,
    words: str,
    key: tuple[str, ...],
    columns: dict[str, tuple[str, str]],
    *,
    width: int = _WIDTH,
    height: int = 9,
) -> table.Panel:
    """A table: one row for each value of the labels ``key``, and by the name of a column its query
    and unit.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(words)
        .datasource(_SOURCE)
        .no_value("-")
        .height(height)
        .span(width)
    )
    shown: dict[str, str] = {}
    for letter, (name, (expression, unit)) in zip(_LETTERS, columns.items(), strict=False):
        # By the labels of the row alone: with the names of the series the answers would not merge.
        expression = f"max by ({', '.join(key)}) ({expression})"
        target = query(expression, instant=True).ref_id(letter)
        panel = panel.with_target(target.format(prometheus_format()))
        # Grafana calls the only column of values "Value", without a letter.
        value = f"Value #{letter}" if len(columns) > 1 else "Value"
        shown[value] = name
        unit_of = dashboard.DynamicConfigValue(id_val="unit", value=unit)
        panel = panel.override_by_name(name, [unit_of])
    if len(columns) > 1:
        merge = dashboard.DataTransformerConfig(id_val="merge", options={})
        panel = panel.with_transformation(merge)
    order = {name: position for position, name in enumerate((*key, *shown))}
    organize = dashboard.DataTransformerConfig(
        id_val="organize",
        options={"excludeByName": {"Time": True}, "indexByName": order, "renameByName": shown},
    )
    return panel.with_transformation(organize)


def prometheus_format() -> Any:
    """The answers of a table's queries as tables."""
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    return PromQueryFormat.TABLE


def variable(name: str, label: str, values: str) -> build.QueryVariable:
    """A choice of values of a label; all of them at first."""
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query({"query": values, "refId": name})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def overview(board: build.Dashboard) -> build.Dashboard:
    """The fleet, as its hosts see it."""
    board = board.with_row(
        build.Row("Fleet: what is promised, held, claimed, and could be given back")
    )
    for panel in (
        number(
            "Promised",
            "Bytes that all local disks promise to their guests.",
            "sum(instance:nova_diskaudit_disk_virtual_bytes:sum)",
            _BYTES,
        ),
        number(
            "Held",
            "Bytes that the storages hold for them, by the hosts' own measure.",
            "sum(instance:nova_diskaudit_disk_host_allocated_bytes:sum)",
            _BYTES,
        ),
        number(
            "Guests say",
            "What guests' filesystems count as used: a claim, and only of guests that answer.",
            "sum(instance:nova_diskaudit_disk_guest_used_bytes:sum)",
            _BYTES,
        ),
        number(
            "Reclaimable, at least",
            "Bytes that trims give back for sure.",
            "sum(instance:nova_diskaudit_disk_reclaimable_low_bytes:sum)",
            _BYTES,
        ),
        number(
            "Really free",
            "Bytes free on all storages, each counted once.",
            "sum(storage:nova_diskaudit_storage_free_bytes:min)",
            _BYTES,
        ),
        number(
            "Owed of what is free",
            "What guests may still write, over what is really free. Above 100 % it would not fit.",
            "sum(storage:nova_diskaudit_storage_outstanding_bytes:sum)"
            " / sum(storage:nova_diskaudit_storage_free_bytes:min)",
            _RATIO,
            warn=1,
        ),
        curves(
            "Promised, held, claimed",
            "Never one number. Promised above the size of the storages is over-commit.",
            _BYTES,
            query("sum(instance:nova_diskaudit_disk_virtual_bytes:sum)", "promised"),
            query("sum(instance:nova_diskaudit_disk_host_allocated_bytes:sum)", "held"),
            query("sum(instance:nova_diskaudit_disk_guest_used_bytes:sum)", "guests say"),
            query("sum(storage:nova_diskaudit_storage_total_bytes:max)", "size of the storages"),
        ),
        curves(
            "Could be given back",
            "Between these two lies what trims in the guests give back.",
            _BYTES,
            query("sum(instance:nova_diskaudit_disk_reclaimable_low_bytes:sum)", "at least"),
            query("sum(instance:nova_diskaudit_disk_reclaimable_high_bytes:sum)", "at most"),
        ),
        rows(
            "Storages",
            "A storage that hosts share stands here once. Owed: promised, and not held yet.",
            ("storage",),
            {
                "Size": ("storage:nova_diskaudit_storage_total_bytes:max", _BYTES),
                "Free": ("storage:nova_diskaudit_storage_free_bytes:min", _BYTES),
                "In use": ("storage:nova_diskaudit_storage_used:ratio", _RATIO),
                "Promised": ("storage:nova_diskaudit_storage_virtual_bytes:sum", _BYTES),
                "Held by disks": ("storage:nova_diskaudit_disk_host_allocated_bytes:sum", _BYTES),
                "Owed": ("storage:nova_diskaudit_storage_outstanding_bytes:sum", _BYTES),
                "Owed of free": ("storage:nova_diskaudit_storage_outstanding:ratio", _RATIO),
            },
        ),
        curves(
            "Storages in use",
            "By what is really free.",
            _RATIO,
            query("storage:nova_diskaudit_storage_used:ratio", "{{storage}}"),
        ),
        curves(
            "Owed of what is free",
            "Above 100 %, guests that write what they were promised fill the storage.",
            _RATIO,
            query("storage:nova_diskaudit_storage_outstanding:ratio", "{{storage}}"),
        ),
    ):
        board = board.with_panel(panel)
    return board


def projects(board: build.Dashboard) -> build.Dashboard:
    """Projects, as the central service adds them up."""
    board = board.with_row(build.Row("Projects: what is verified to be theirs"))

    def of(name: str) -> str:
        return f"max by (project_id) (nova_diskaudit_project_{name}{_PROJECT})"

    measured = f"{of('instances_host_measured')} / {of('instances')}"
    answered = f"{of('instances_guest_measured')} / {of('instances')}"
    for panel in (
        rows(
            "Projects",
            "As of the service's last roll-up. Beyond those that hold most, all are (others).",
            ("project_id",),
            {
                "Instances": (of("instances"), "none"),
                "Promised": (of("virtual_bytes"), _BYTES),
                "Held": (of("host_allocated_bytes"), _BYTES),
                "Guests say": (of("guest_used_bytes"), _BYTES),
                "Reclaimable, likely": (of("reclaimable_likely_bytes"), _BYTES),
                "Measured": (measured, _RATIO),
                "Guests that answer": (answered, _RATIO),
            },
        ),
        curves(
            "Promised and held",
            "Of the projects that are chosen above.",
            _BYTES,
            query(of("virtual_bytes"), "{{project_id}} promised"),
            query(of("host_allocated_bytes"), "{{project_id}} held"),
        ),
        curves(
            "In use, as far as guests tell",
            "What guests say, and the bounds of what their filesystems use.",
            _BYTES,
            query(of("guest_used_bytes"), "{{project_id}} guests say"),
            query(of("used_low_bytes"), "{{project_id}} at least"),
            query(of("used_high_bytes"), "{{project_id}} at most"),
        ),
        curves(
            "Could be given back",
            "By trims: at least, as estimated, at most.",
            _BYTES,
            query(of("reclaimable_low_bytes"), "{{project_id}} at least"),
            query(of("reclaimable_likely_bytes"), "{{project_id}} likely"),
            query(of("reclaimable_high_bytes"), "{{project_id}} at most"),
        ),
        curves(
            "Coverage",
            "Of how many instances all bytes held, and all bytes that the guest uses, are known.",
            _RATIO,
            query(measured, "{{project_id}} held"),
            query(answered, "{{project_id}} guest"),
        ),
    ):
        board = board.with_panel(panel)
    return board


def hosts(board: build.Dashboard) -> build.Dashboard:
    """Compute nodes, as their agents see them."""
    board = board.with_row(build.Row("Hosts"))
    columns = {
        "Disks": (f"instance:nova_diskaudit_disks:count{_HOST}", "none"),
        "Not known": (f"instance:nova_diskaudit_disks_unknown:count{_HOST}", "none"),
    }
    for title, name in (
        ("Promised", "virtual"),
        ("Held", "host_allocated"),
        ("Guests say", "guest_used"),
        ("Reclaimable, at least", "reclaimable_low"),
    ):
        columns[title] = (f"instance:nova_diskaudit_disk_{name}_bytes:sum{_HOST}", _BYTES)
    columns["Oldest fact"] = (
        'max by (instance) (nova_diskaudit_agent_oldest_seconds{instance=~"$host", part="host"})',
        _SECONDS,
    )
    largest = f"topk(20, nova_diskaudit_disk_reclaimable_low_bytes{_HOST} > 0)"
    for panel in (
        rows(
            "Hosts",
            "One row a compute node: the target that Prometheus scrapes.",
            ("instance",),
            columns,
        ),
        curves(
            "Held",
            "By the disks of each host.",
            _BYTES,
            query(f"instance:nova_diskaudit_disk_host_allocated_bytes:sum{_HOST}", "{{instance}}"),
        ),
        rows(
            "Disks that give back most",
            "What a trim in the guest gives back for sure.",
            ("instance", "project_id", "instance_uuid", "device"),
            {"Reclaimable, at least": (largest, _BYTES)},
            width=12,
            height=8,
        ),
        curves(
            "Guests",
            "What became of the question to the guest agents.",
            "none",
            query(f"count by (state) (nova_diskaudit_instance_guest_state{_HOST})", "{{state}}"),
        ),
        curves(
            "Findings about disks",
            "By code; the documentation says what each one means.",
            "none",
            query(f"count by (code) (nova_diskaudit_disk_finding{_HOST})", "{{code}}"),
        ),
    ):
        board = board.with_panel(panel)
    return board


def agents(board: build.Dashboard) -> build.Dashboard:
    """Whether the agents are well."""
    board = board.with_row(build.Row("Health of the agents"))

    def of(name: str, labels: str = "") -> str:
        more = f", {labels}" if labels else ""
        return f'nova_diskaudit_agent_{name}{{instance=~"$host"{more}}}'

    late = of("cycle_start_timestamp_seconds")
    for panel in (
        curves(
            "Age of the last cycle",
            "Three intervals are too old.",
            _SECONDS,
            query(f"time() - {late}", "{{instance}}"),
            width=8,
        ),
        curves(
            "Length of a cycle",
            "Of the last finished one.",
            _SECONDS,
            query(of("cycle_seconds"), "{{instance}}"),
            width=8,
        ),
        curves(
            "Domains asked anew",
            "The others were quiet: nothing was written to their disks.",
            "none",
            query(f"sum by (how) ({of('cycle_domains')})", "{{how}}"),
            width=8,
        ),
        curves(
            "Left alone",
            "Domains that missed a deadline, by what is not asked of them.",
            "none",
            query(f"sum by (part) ({of('quarantined')})", "{{part}}"),
            width=8,
        ),
        curves(
            "Calls that wait without an end",
            "Of a QEMU, a guest agent or a storage that does not answer.",
            "none",
            query(f"sum by (lane) ({of('lane_parked')})", "{{lane}}"),
            query(f"sum by (kind, how) ({of('tokens_held')})", "token: {{kind}} {{how}}"),
            width=8,
        ),
        curves(
            "States that wait for the service",
            "They arrive in order when it is back.",
            "none",
            query(of("spool_states"), "{{instance}}"),
            width=8,
        ),
        curves(
            "Children that died or were given up",
            "In an hour.",
            "none",
            query(
                f"sum by (instance, lane) (increase({of('lane_restarts_total')}[1h]))",
                "{{instance}} {{lane}}",
            ),
        ),
        rows(
            "Agents",
            "Releases, and whether events arrive.",
            ("instance", "host", "version"),
            {
                "Events": (
                    f"{of('events_connected')} * on (instance) group_left (host, version)"
                    f" {of('build_info')}",
                    "bool_on_off",
                )
            },
            width=12,
            height=8,
        ),
    ):
        board = board.with_panel(panel)
    return board


def service(board: build.Dashboard) -> build.Dashboard:
    """Whether the central service is well."""
    board = board.with_row(build.Row("Health of the service"))

    def of(name: str, aggregate: str = "max") -> str:
        return f"{aggregate}(nova_diskaudit_service_{name})"

    for panel in (
        number("Hosts", "Hosts that have ever reported.", of("hosts"), "none"),
        number(
            "Silent for an hour",
            "Their instances are counted by old reports.",
            f'{of("hosts")} - max(nova_diskaudit_service_hosts_reported{{within_seconds="3600"}})',
            "none",
            warn=1,
        ),
        number(
            "Age of the roll-up",
            "Of the sums over all projects.",
            of("rollup_age_seconds", "min"),
            _SECONDS,
            warn=1800,
        ),
        number(
            "Age of the map of Nova",
            "Since all of Nova was last heard.",
            of("nova_map_age_seconds", "min"),
            _SECONDS,
            warn=1800,
        ),
        number(
            "Age of Gnocchi's series",
            "Since all that was due was sent there. Not known, where Gnocchi is not used.",
            of("gnocchi_age_seconds", "min"),
            _SECONDS,
            warn=3600,
        ),
        number("Disks", "Local disks that hosts report.", of("disks"), "none"),
        curves(
            "Reports taken",
            "A second.",
            "reqps",
            query("max(rate(nova_diskaudit_service_reports_accepted_total[5m]))", "reports"),
            width=8,
        ),
        curves(
            "Findings",
            "About hosts and instances, by code.",
            "none",
            query("max by (code) (nova_diskaudit_service_findings)", "{{code}}"),
            width=8,
        ),
        curves(
            "Why instances are not measured",
            "What they lack, and the reason.",
            "none",
            query(
                "max by (lacks, code) (nova_diskaudit_service_unmeasured_instances)",
                "{{lacks}}: {{code}}",
            ),
            width=8,
        ),
        rows(
            "Alerts",
            "Of nova-diskaudit, that are firing.",
            ("alertname", "severity", "instance", "storage"),
            {
                "Firing": (
                    'ALERTS{alertname=~"NovaDiskaudit.*", alertstate="firing"}',
                    "none",
                )
            },
        ),
    ):
        board = board.with_panel(panel)
    return board


def made() -> str:
    """The dashboard's JSON."""
    board = (
        build.Dashboard("nova-diskaudit: what the disks of instances hold")
        .uid("nova-diskaudit")
        .description("Promised, held, claimed and reclaimable bytes, and who tells them.")
        .tags(["openstack", "nova", "nova-diskaudit"])
        .editable()
        .refresh("1m")
        .time("now-24h", "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
        .with_variable(
            variable(
                "project",
                "Project",
                "label_values(nova_diskaudit_project_virtual_bytes, project_id)",
            )
        )
        .with_variable(
            variable("host", "Host", "label_values(nova_diskaudit_agent_build_info, instance)")
        )
    )
    for part in (overview, projects, hosts, agents, service):
        board = part(board)
    model = board.build()
    for id, panel in enumerate(model.panels or (), start=1):
        panel.id_val = id
    return JSONEncoder(sort_keys=True, indent=2).encode(model) + "\n"


if __name__ == "__main__":
    print(made(), end="")

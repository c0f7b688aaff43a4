# SPDX-License-Identifier: Apache-2.0
"""``openstack disk usage history``: the past of a project by hours, or of a server by days."""

from __future__ import annotations

import argparse
import datetime
from typing import Any

from nova_diskaudit.osc import arguments, chart, columns, command, names, options, rows, words
from nova_diskaudit.osc.fields import Field, Row, count

#: What is shown unless --start says otherwise.
_HOURS = datetime.timedelta(days=1)
_DAYS = datetime.timedelta(days=30)


class ShowHistory(command.Lister):
    """Show what the disks of a project held hour by hour, or those of a server day by day.

    Without options: your own project's last 24 hours. Hours and days in which nobody reported are
    not in the list. On a terminal a chart stands below the table.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Of what, and when."""
        parser = super().get_parser(prog_name)
        subject = parser.add_mutually_exclusive_group()
        subject.add_argument("--project", metavar="<project>", help="Project to show (name or ID)")
        subject.add_argument("--server", metavar="<server>", help="Server to show (name or ID)")
        options.add_project_domain(parser)
        parser.add_argument(
            "--start",
            metavar="<time>",
            type=arguments.instant,
            help="From this time on, such as 2026-01-31 or 2026-01-31T15:00:00Z (default: a day "
            "ago for a project, 30 days ago for a server)",
        )
        parser.add_argument(
            "--end", metavar="<time>", type=arguments.instant, help="Before this time"
        )
        parser.add_argument("--long", action="store_true", help="List additional fields")
        return parser

    def answer(self, parsed_args: argparse.Namespace) -> command.Answer:
        """Ask the service."""
        manager = self.app.client_manager
        project = None
        fields = _fields(is_long=parsed_args.long)
        span = _DAYS if parsed_args.server else _HOURS
        end = parsed_args.end
        start = parsed_args.start or (end or command.now()) - span
        query: dict[str, Any] = {"start": _written(start)}
        if end is not None:
            query["end"] = _written(end)
        if parsed_args.server:
            query["instance"] = names.server(manager, parsed_args.server)
            of = f"server {parsed_args.server}"
        else:
            project = names.chosen_project(manager, parsed_args)
            if project is None:
                project = names.only_project(self.disk_audit)
            if project is None:
                return command.Answer(fields, [], "Nothing is known yet of any project.")
            query["project_id"] = project.id
            of = f"project {project.words}"
        table = [rows.of_point(one) for one in self.disk_audit.usage_history(**query)]
        if not table:
            names.check_known(project)
        step = datetime.timedelta(days=1) if parsed_args.server else datetime.timedelta(hours=1)
        return command.Answer(
            fields=fields,
            rows=table,
            instead=None if table else _nothing(of, start, end),
            below=lambda screen: _drawn(table, step, screen),
        )


def _nothing(of: str, start: datetime.datetime, end: datetime.datetime | None) -> str:
    until = f" and before {words.time(end.isoformat())}" if end is not None else ""
    return f"Nobody reported of {of} from {words.time(start.isoformat())} on{until}."


def _drawn(table: list[Row], step: datetime.timedelta, screen: command.Screen | None) -> str:
    if screen is None or len(table) < 2:
        return ""
    points = [
        chart.Point(at, row["host_allocated_bytes"], row["guest_used_bytes"])
        for row in table
        if (at := words.instant(row["at"])) is not None
    ]
    style = chart.BLOCKS if screen.can_show(chart.BLOCKS.all) else chart.ASCII
    return "\n" + chart.draw(points, step, columns=screen.columns, style=style)


def _written(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _fields(*, is_long: bool) -> list[Field]:
    fields = [
        columns.of_time("Time", "at"),
        *columns.sums("Guests say"),
        count("Servers", "instances"),
        count("Measured", "host_measured"),
    ]
    if is_long:
        fields += [
            columns.IN_USE,
            count("Disks", "disks"),
            count("Guests measured", "guest_measured"),
            columns.of_time("As of", "as_of"),
        ]
    return fields

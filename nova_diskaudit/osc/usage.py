# SPDX-License-Identifier: Apache-2.0
"""``openstack disk usage ...``: what disks hold, of one project or server, or in lists."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping
from typing import Any

from osc_lib import exceptions

from nova_diskaudit.osc import arguments, columns, command, names, options, rows, words
from nova_diskaudit.osc.fields import Field, Row, count, plain
from nova_diskaudit.text import between, size

#: What a list of servers needs of each; their disks are many bytes, and not shown.
_LISTED = "uuid,name,project_id,host,trust,as_of,received_at,totals"
_LISTED_LONG = f"{_LISTED},state,flavor,guest,findings,disks"
_NOTHING = "Nothing is known yet of any server of a project."


class ShowUsage(command.ShowOne):
    """Show what the disks of a project, or of one server, hold.

    What was promised, what the storage really holds, what the guests say they use, and what could
    be given back; how many servers that rests on, and the limits. Without options: of your own
    project.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Of what."""
        parser = super().get_parser(prog_name)
        subject = parser.add_mutually_exclusive_group()
        subject.add_argument("--project", metavar="<project>", help="Project to show (name or ID)")
        subject.add_argument("--server", metavar="<server>", help="Server to show (name or ID)")
        options.add_project_domain(parser)
        return parser

    def answer(self, parsed_args: argparse.Namespace) -> command.Answer:
        """Ask the service."""
        if parsed_args.server:
            uuid = names.server(self.app.client_manager, parsed_args.server)
            instance = rows.of_instance(self.disk_audit.get_instance(uuid))
            return command.Answer(_of_server(), [instance])
        project = names.chosen_project(self.app.client_manager, parsed_args)
        if project is None:
            project = names.only_project(self.disk_audit)
        if project is None:
            return command.Answer(_of_project(), [rows.of_unknown_project()], _NOTHING)
        found = next(iter(self.disk_audit.usages(project_id=project.id)), None)
        row = rows.of_usage(found, project.name) if found is not None else None
        if row is None or not row["instances"]:
            names.check_known(project)
        if row is None:
            raise exceptions.CommandError(f"The service tells nothing of project {project.words}")
        return command.Answer(_of_project(), [row], _nothing_yet(row))


class ListUsage(command.Lister):
    """List servers with what their disks hold, those that hold most first.

    Without options: those of your own project. Operators may name another project, a host, or all
    projects.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Filters and order."""
        parser = super().get_parser(prog_name)
        scope = parser.add_mutually_exclusive_group()
        scope.add_argument(
            "--project", metavar="<project>", help="List the servers of this project (name or ID)"
        )
        scope.add_argument(
            "--all-projects", action="store_true", help="List the servers of all projects"
        )
        options.add_project_domain(parser)
        parser.add_argument(
            "--host",
            metavar="<host>",
            help="List the servers on this host, of all projects unless --project names one "
            "(name, or hypervisor ID)",
        )
        parser.add_argument(
            "--finding", metavar="<code>", help="Only servers with this finding, such as untrimmed"
        )
        parser.add_argument(
            "--min-reclaimable",
            metavar="<size>",
            type=arguments.size,
            help="Only servers that could likely give back this much, such as 10GiB",
        )
        parser.add_argument(
            "--trust",
            choices=("verified", "pending", "unverified"),
            help="Only servers whose host and project are verified by Nova, not yet, or not",
        )
        parser.add_argument(
            "--sort",
            metavar="<key>[:asc|:desc]",
            type=arguments.sort,
            default="host_allocated_bytes:desc",
            help="Sort by this sum, or by uuid (default: host_allocated_bytes:desc)",
        )
        options.add_limit(parser)
        parser.add_argument("--long", action="store_true", help="List additional fields")
        return parser

    def answer(self, parsed_args: argparse.Namespace) -> command.Answer:
        """Ask the service."""
        manager = self.app.client_manager
        query: dict[str, Any] = {
            **options.paging(parsed_args.limit),
            "sort": parsed_args.sort,
            "fields": _LISTED_LONG if parsed_args.long else _LISTED,
        }
        if parsed_args.host:
            query["host"] = names.host(manager, parsed_args.host)
        project = None
        if parsed_args.project or not (parsed_args.all_projects or parsed_args.host):
            project = names.chosen_project(manager, parsed_args)
        if project is not None:
            query["project_id"] = project.id
        for name in ("finding", "min_reclaimable", "trust"):
            if getattr(parsed_args, name) is not None:
                query[name] = getattr(parsed_args, name)
        asked = self.disk_audit.instances(**query)
        found = options.at_most(parsed_args.limit, asked, self.app.stderr)
        if not found:
            names.check_known(project)
        return command.Answer(
            fields=_servers(is_long=parsed_args.long),
            rows=[rows.of_instance(one) for one in found],
            instead=None if found else _no_servers(parsed_args, project, query),
        )


class ListProjectUsage(command.Lister):
    """List all projects with what their disks hold. For operators."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Options."""
        parser = super().get_parser(prog_name)
        options.add_limit(parser)
        parser.add_argument("--long", action="store_true", help="List additional fields")
        return parser

    def answer(self, parsed_args: argparse.Namespace) -> command.Answer:
        """Ask the service, and Keystone for the names."""
        limit = parsed_args.limit
        asked = self.disk_audit.usages(**options.paging(limit))
        found = options.at_most(limit, asked, self.app.stderr)
        called = names.project_names(self.app.client_manager) if found else {}
        return command.Answer(
            fields=_projects(is_long=parsed_args.long),
            rows=[rows.of_usage(one, called.get(one.project_id)) for one in found],
            instead=None if found else "Nothing is known yet of any project.",
        )


# --- sentences --------------------------------------------------------------------------------


def _nothing_yet(row: Row) -> str | None:
    """What is said in place of a table without a number."""
    if row["as_of"] is not None:
        return None
    of = f"project {row['project_name'] or row['project_id']}"
    if not row["instances"]:
        return f"Nothing is known of any server of {of}."
    why = "; ".join(words.reasons(one for one in row["reasons"] if one["lacks"] == "host"))
    return (
        f"Nothing is known yet of the disks of {of}, which has "
        f"{words.many(row['instances'], 'server')}" + (f": {why}." if why else ".")
    )


def _no_servers(
    parsed_args: argparse.Namespace, project: names.Project | None, query: Mapping[str, Any]
) -> str:
    where = f" of project {project.words}" if project is not None else ""
    if "host" in query:
        where += f" on host {query['host']}"
    if not {"finding", "min_reclaimable", "trust"}.isdisjoint(query):
        return f"No server{where} is like that."
    hint = ""
    if project is not None and not parsed_args.project:
        hint = " (--all-projects shows those of all that you may see)"
    return f"Nothing is known yet of any server{where}{hint}."


# --- fields -----------------------------------------------------------------------------------


def _of_project() -> list[Field]:
    now = command.now()
    return [
        Field("Project", ("project_id", "project_name", "verified"), _project),
        *columns.sums_in_full("Guests say", "by the guests' own word"),
        Field("Limits", ("limits",), lambda row: words.limits(row["limits"])),
        Field(
            "Measured",
            ("instances", "host_measured", "guest_measured", "stale", "reasons"),
            words.coverage,
        ),
        columns.of_time_and_age("As of", ("as_of", "computed_at"), now),
    ]


def _of_server() -> list[Field]:
    now = command.now()
    return [
        plain("ID", "uuid"),
        plain("Name", "name"),
        plain("Project", "project_id"),
        plain("Host", "host"),
        plain("State", "state"),
        plain("Flavor", "flavor"),
        plain("Trust", "trust"),
        *columns.sums_in_full("Guest says", "by its own word"),
        Field("Disks", ("disk_details",), lambda row: _lines(_disk, row["disk_details"])),
        Field("Filesystems", ("filesystems",), lambda row: _lines(_filesystem, row["filesystems"])),
        Field(
            "Guest agent",
            ("guest_state", "guest_as_of", "guest_checked_at"),
            lambda row: _guest(row, now),
        ),
        Field("Findings", ("findings", "finding_details"), words.server_findings),
        Field(
            "Also seen on",
            ("other_sightings",),
            lambda row: _lines(_sighting, row["other_sightings"]),
        ),
        columns.of_time_and_age("As of", ("as_of",), now),
        columns.of_time_and_age("Received", ("received_at",), now),
    ]


def _servers(*, is_long: bool) -> list[Field]:
    now = command.now()
    fields = [
        plain("ID", "uuid"),
        plain("Name", "name"),
        *columns.sums("Guest says"),
        columns.of_age("Age", "as_of", now),
    ]
    if is_long:
        fields += [
            columns.IN_USE,
            count("Disks", "disks"),
            plain("Project", "project_id"),
            plain("Host", "host"),
            plain("Trust", "trust"),
            plain("State", "state"),
            plain("Flavor", "flavor"),
            plain("Guest agent", "guest_state"),
            Field("Findings", ("findings",), words.serious),
            columns.of_time("Received", "received_at"),
        ]
    return fields


def _projects(*, is_long: bool) -> list[Field]:
    now = command.now()
    fields = [
        plain("ID", "project_id"),
        plain("Name", "project_name"),
        count("Servers", "instances"),
        count("Measured", "host_measured"),
        *columns.sums("Guests say"),
        columns.of_age("Age", "as_of", now),
    ]
    if is_long:
        fields += [
            columns.IN_USE,
            count("Disks", "disks"),
            count("Guests measured", "guest_measured"),
            count("Stale", "stale"),
            plain("Verified", "verified"),
            Field("Not measured", ("reasons",), words.not_measured),
            Field("Limits", ("limits",), lambda row: words.limits_in_short(row["limits"])),
            columns.of_time("Computed", "computed_at"),
        ]
    return fields


def _project(row: Row) -> str:
    name, uuid = row["project_name"], row["project_id"]
    called = f"{name} ({uuid})" if name and uuid else name or uuid or "-"
    return called if row["verified"] else f"{called}, by its hosts' word alone"


def _lines(show: Any, entries: list[Mapping[str, Any]] | None) -> str:
    return "\n".join(map(show, entries or [])) or "-"


def _disk(disk: Mapping[str, Any]) -> str:
    give_back = disk.get("reclaimable") or {}
    bounds = between(give_back.get("low"), give_back.get("high"))
    how = give_back.get("how")
    return (
        f"{disk.get('target')} ({disk.get('kind')}): {size(disk.get('virtual_bytes'))} promised, "
        f"{size(disk.get('host_allocated_bytes'))} held, guest says "
        f"{size(disk.get('guest_used_bytes'))}, could give back {bounds}"
        + (f" ({how})" if how and how != "none" else "")
    )


def _filesystem(one: Mapping[str, Any]) -> str:
    return (
        f"{one.get('mountpoint') or one.get('name')} ({one.get('type')}): guest says "
        f"{size(one.get('used_bytes'))} of {size(one.get('total_bytes'))} used"
    )


def _sighting(one: Mapping[str, Any]) -> str:
    return f"{one.get('host')}: {size(one.get('host_allocated_bytes'))} held, {one.get('trust')}"


def _guest(row: Row, now: datetime.datetime) -> str:
    state, checked = row["guest_state"], row["guest_checked_at"]
    if state == "answered":
        answered = f"answered {words.time_and_age(row['guest_as_of'], now)}"
        if checked in (None, row["guest_as_of"]):
            return answered
        return f"{answered}; unchanged until {words.time_and_age(checked, now)}"
    why = words.REASONS.get(state or "")
    return f"{why} ({state})" if why else state or "-"

# SPDX-License-Identifier: Apache-2.0
"""``openstack disk audit finding list``."""

from __future__ import annotations

import argparse
import itertools
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nova_diskaudit.osc import columns, command, names, options, rows
from nova_diskaudit.osc.fields import Field, Row, plain
from nova_diskaudit.text import printable

if TYPE_CHECKING:
    from nova_diskaudit.sdk.finding import Finding

_SEVERITIES = ("error", "warning", "info")
_WIDTH = 100
_NARROWEST = 40


class ListFinding(command.Lister):
    """List what the audit found out, what is most severe first.

    Operators see all findings, a project's reader those about the project's servers. Below the
    table stands what to do about each kind.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Filters."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--project",
            metavar="<project>",
            help="Only findings about servers of this project (name or ID)",
        )
        options.add_project_domain(parser)
        parser.add_argument(
            "--server", metavar="<server>", help="Only findings about this server (name or ID)"
        )
        parser.add_argument(
            "--host",
            metavar="<host>",
            help="Only findings about this host and the servers on it (name, or hypervisor ID)",
        )
        parser.add_argument("--code", metavar="<code>", help="Only findings of this kind")
        parser.add_argument("--severity", choices=_SEVERITIES, help="Only findings this severe")
        parser.add_argument(
            "--origin",
            choices=("agent", "reconcile"),
            help="Only what a host's agent concluded, or the service by comparing",
        )
        options.add_limit(parser)
        parser.add_argument("--long", action="store_true", help="List additional fields")
        return parser

    def answer(self, parsed_args: argparse.Namespace) -> command.Answer:
        """Ask the service."""
        query = self._query(parsed_args)
        severities = [parsed_args.severity] if parsed_args.severity else _SEVERITIES
        asked = self._found_by(severities, query)
        found = options.at_most(parsed_args.limit, asked, self.app.stderr)
        table = [rows.of_finding(one) for one in found]
        return command.Answer(
            fields=_fields(is_long=parsed_args.long),
            rows=table,
            instead=None if table else "There are no such findings.",
            below=lambda screen: _legend(table, screen),
        )

    def _query(self, parsed_args: argparse.Namespace) -> dict[str, Any]:
        manager = self.app.client_manager
        query: dict[str, Any] = options.paging(parsed_args.limit)
        if parsed_args.project:
            project = names.project(manager, parsed_args.project, parsed_args.project_domain)
            query["project_id"] = project.id
        if parsed_args.server:
            query["instance"] = names.server(manager, parsed_args.server)
        if parsed_args.host:
            query["host"] = names.host(manager, parsed_args.host)
        for name in ("code", "origin"):
            if getattr(parsed_args, name):
                query[name] = getattr(parsed_args, name)
        return query

    def _found_by(self, severities: Any, query: dict[str, Any]) -> Iterator[Finding]:
        return itertools.chain.from_iterable(
            self.disk_audit.findings(severity=severity, **query) for severity in severities
        )


def _fields(*, is_long: bool) -> list[Field]:
    now = command.now()
    fields = [
        plain("Severity", "severity"),
        plain("Code", "code"),
        plain("Host", "host"),
        plain("Server", "instance"),
        plain("Disks", "disks"),
        columns.of_age("Since", "since", now),
    ]
    if is_long:
        fields += [
            plain("Project", "project_id"),
            plain("Origin", "origin"),
            plain("Message", "message"),
            plain("Action", "action"),
            plain("ID", "id"),
        ]
    return fields


def _legend(table: list[Row], screen: command.Screen | None) -> str:
    """Each kind once, and what to do about it."""
    lines = []
    width = max(screen.columns, _NARROWEST) if screen is not None else _WIDTH
    actions = {row["code"]: row["action"] or row["message"] for row in table}
    for code, action in actions.items():
        line = f"{printable(code)}: {printable(action or '', None)}"
        lines += textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False)
    return "".join(f"{line}\n" for line in lines)

# SPDX-License-Identifier: Apache-2.0
"""``openstack disk audit host ...``: the hosts that report. For operators."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from nova_diskaudit.osc import columns, command, names, options, rows, words
from nova_diskaudit.osc.fields import Field, Row, count, plain
from nova_diskaudit.text import size


class ListHost(command.Lister):
    """List the hosts that report, with what the disks on them hold."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Options."""
        parser = super().get_parser(prog_name)
        options.add_limit(parser)
        parser.add_argument("--long", action="store_true", help="List additional fields")
        return parser

    def answer(self, parsed_args: argparse.Namespace) -> command.Answer:
        """Ask the service."""
        limit = parsed_args.limit
        asked = self.disk_audit.hosts(**options.paging(limit))
        found = options.at_most(limit, asked, self.app.stderr)
        return command.Answer(
            fields=_fields(is_long=parsed_args.long),
            rows=[rows.of_host(one) for one in found],
            instead=None if found else "No host has reported yet.",
        )


class ShowHost(command.ShowOne):
    """Show a host that reports: its storages, what the disks on it hold, and its findings."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which host."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "host", metavar="<host>", help="Host to show (name, or hypervisor ID in Nova)"
        )
        return parser

    def answer(self, parsed_args: argparse.Namespace) -> command.Answer:
        """Ask the service."""
        name = names.host(self.app.client_manager, parsed_args.host)
        return command.Answer(_details(), [rows.of_host(self.disk_audit.get_host(name))])


def _fields(*, is_long: bool) -> list[Field]:
    now = command.now()
    fields = [
        plain("Name", "name"),
        count("Servers", "instances"),
        count("Disks", "disks"),
        columns.of_bytes("Promised", "virtual_bytes"),
        columns.of_bytes("Held", "host_allocated_bytes"),
        columns.of_bytes("Storage", "storage_total_bytes"),
        columns.of_bytes("Free", "storage_free_bytes"),
        plain("Findings", "findings"),
        columns.of_age("Age", "as_of", now),
    ]
    if is_long:
        fields += [
            columns.of_time("Received", "received_at"),
            plain("Agent", "agent"),
            plain("Report", "report_id"),
            Field("Storages", ("storages",), lambda row: _storages(row["storages"])),
        ]
    return fields


def _details() -> list[Field]:
    now = command.now()
    return [
        plain("Name", "name"),
        columns.of_time_and_age("As of", ("as_of",), now),
        columns.of_time_and_age("Received", ("received_at",), now),
        count("Servers", "instances"),
        count("Disks", "disks"),
        columns.of_bytes("Promised", "virtual_bytes"),
        columns.of_bytes("Held", "host_allocated_bytes"),
        columns.of_bytes("Storage", "storage_total_bytes"),
        columns.of_bytes("Free", "storage_free_bytes"),
        Field("Storages", ("storages",), lambda row: _storages(row["storages"])),
        Field("Findings", ("findings", "finding_details"), words.host_findings),
        plain("Agent", "agent"),
        plain("Report", "report_id"),
    ]


def _storages(storages: list[Mapping[str, Any]]) -> str:
    return "\n".join(map(_storage, storages)) or "-"


def _storage(one: Row) -> str:
    kind = "/".join(filter(None, (one.get("kind"), one.get("fs_type"))))
    parts = [
        f"{one.get('path')} ({kind}): {size(one.get('free_bytes'))} free of "
        f"{size(one.get('total_bytes'))}, {size(one.get('virtual_sum_bytes'))} promised",
    ]
    if one.get("image_cache_bytes"):
        parts.append(f"image cache {size(one['image_cache_bytes'])}")
    if one.get("leftovers"):
        parts.append(words.many(len(one["leftovers"]), "leftover"))
    codes = [found.get("code", "") for found in one.get("findings") or []]
    return ", ".join([*parts, *codes])

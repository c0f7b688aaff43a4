# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit audit``."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from nova_diskaudit.cmd import UsageError, options, stdout
from nova_diskaudit.record import HostReport
from nova_diskaudit.render import progress

if TYPE_CHECKING:
    from nova_diskaudit.agent.reader import Shown


def run(arguments: argparse.Namespace) -> int:
    """Sweep the host, print the report, say whether all of it could be audited."""
    if arguments.wide and arguments.format != "table":
        raise UsageError("--wide is for --format table")
    if arguments.from_agent:
        return _run_from_agent(arguments)
    # First: a missing library is told before the sweep, not after it.
    render = _renderer(arguments)
    from nova_diskaudit import audit

    with progress.line(sys.stderr) as told:
        try:
            report = audit.sweep(options.resolve(arguments, told))
        except audit.AuditError as error:
            raise UsageError(str(error)) from error
    stdout.write(render(report))
    return 1 if audit.could_not_be_audited(report) else 0


def _run_from_agent(arguments: argparse.Namespace) -> int:
    """Print what the agent knows; the exit status is that of a sweep."""
    for name in ("connect", "no_guest", "timeout", "path_map"):
        if getattr(arguments, name):
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} is for a sweep, and --from-agent makes none")
    render = _renderer(arguments)
    from nova_diskaudit.agent import reader

    path = options.agent_state_path(arguments.config_file) / reader.SOCKET_NAME
    try:
        shown = reader.read(path)
    except reader.AgentUnreachable as error:
        raise UsageError(str(error)) from error
    if shown.report is None:
        raise UsageError(_no_report(shown))
    report = _chosen(shown.report, arguments.instance)
    words = render(report)
    if arguments.format == "table":
        words = _preamble(shown) + words
    stdout.write(words)
    from nova_diskaudit.audit.sweep import could_not_be_audited

    return 1 if could_not_be_audited(report) else 0


def _no_report(shown: Shown) -> str:
    failed = shown.agent.cycle.failed
    if failed is not None:
        return f"the agent has no report yet, since its first cycle failed: {failed}"
    return "the agent has no report yet: its first cycle is not over; try again in a minute"


def _chosen(report: HostReport, wanted: list[str]) -> HostReport:
    if not wanted:
        return report
    import msgspec

    found = {name for one in report.instances for name in (one.uuid, one.domain)}
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise UsageError(f"the agent knows no instance {', '.join(unknown)}")
    return msgspec.structs.replace(
        report,
        instances=tuple(
            one for one in report.instances if one.uuid in wanted or one.domain in wanted
        ),
    )


def _preamble(shown: Shown) -> str:
    import datetime

    from nova_diskaudit.render import agent_words

    return agent_words.preamble(shown.agent, shown.report, datetime.datetime.now(datetime.UTC))


def _renderer(arguments: argparse.Namespace) -> Callable[[HostReport], str]:
    terminal = stdout.is_terminal()
    if arguments.format == "json":
        from nova_diskaudit.render import as_json

        return lambda report: as_json.render(report, pretty=terminal)
    if arguments.format == "prometheus":
        from nova_diskaudit.render import prometheus

        return prometheus.render
    from nova_diskaudit.render import table

    return lambda report: table.render(
        report,
        wide=arguments.wide,
        columns=shutil.get_terminal_size().columns if terminal else None,
        color=stdout.wants_color(),
    )

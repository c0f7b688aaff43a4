# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit audit``."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable

from nova_diskaudit.cmd import UsageError, options, stdout
from nova_diskaudit.record import HostReport
from nova_diskaudit.render import progress


def run(arguments: argparse.Namespace) -> int:
    """Sweep the host, print the report, say whether all of it could be audited."""
    if arguments.wide and arguments.format != "table":
        raise UsageError("--wide is for --format table")
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

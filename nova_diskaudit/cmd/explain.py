# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit explain``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from nova_diskaudit.cmd import UsageError, options, stdout
from nova_diskaudit.render import progress


def run(arguments: argparse.Namespace) -> int:
    """Tell the story of one disk."""
    render = _renderer(arguments)
    from nova_diskaudit import audit, explain

    with progress.line(sys.stderr) as told:
        try:
            story = explain.explain(
                options.resolve(arguments, told), arguments.instance, arguments.disk
            )
        except audit.AuditError as error:
            raise UsageError(str(error)) from error
    stdout.write(render(story))
    return 0


def _renderer(arguments: argparse.Namespace) -> Callable[[Any], str]:
    if arguments.json:
        from nova_diskaudit.render import as_json

        return lambda story: as_json.render(story, pretty=stdout.is_terminal())
    from nova_diskaudit.render import story as words

    return lambda story: words.render(story, color=stdout.wants_color())

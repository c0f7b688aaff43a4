# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit schema``."""

from __future__ import annotations

import argparse

from nova_diskaudit.cmd import stdout
from nova_diskaudit.render import as_json


def run(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema of a report."""
    stdout.write(as_json.schema())
    return 0

# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit doctor``."""

from __future__ import annotations

import argparse

from nova_diskaudit.cmd import stdout


def run(arguments: argparse.Namespace) -> int:
    """Look at everything, print it, say whether all is well."""
    import msgspec

    from nova_diskaudit import doctor
    from nova_diskaudit.render import checkup

    checks = doctor.examine(arguments.config_file)
    if arguments.json:
        stdout.write(msgspec.json.encode({"checks": checks}).decode() + "\n")
    else:
        stdout.write(checkup.render(checks))
    return 1 if any(one.outcome in ("warning", "error") for one in checks) else 0

# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit-status upgrade check``: whether this release can take over."""

from __future__ import annotations

import sys

from nova_diskaudit.cmd import extra

PROGRAM = "nova-diskaudit-status"


@extra.needed(PROGRAM, "api")
def main() -> int:
    """The status of the worst: 0 well, 1 warnings, 2 failures."""
    from oslo_upgradecheck import upgradecheck

    from nova_diskaudit.cmd.checks import Checks
    from nova_diskaudit.conf import service

    conf = service.unread()
    status: int = upgradecheck.main(
        conf,
        service.PROJECT,
        Checks(conf),
        sys.argv[1:],
        default_config_files=service.usual_files(),
    )
    return status


if __name__ == "__main__":
    sys.exit(main())

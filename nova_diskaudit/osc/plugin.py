# SPDX-License-Identifier: Apache-2.0
"""What OpenStack's client asks of a plugin.

It is imported at every ``openstack ...`` whatsoever, so it imports next to nothing itself.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

DEFAULT_API_VERSION = "1"
API_VERSION_OPTION = "os_disk_audit_api_version"
API_NAME = "disk_audit"
API_VERSIONS = {"1": "nova_diskaudit.sdk"}


def make_client(instance: Any) -> Any:
    """The service's proxy, at its first use.

    :param instance: the client's ``ClientManager``, whose connection is registered.
    """
    from nova_diskaudit import sdk

    sdk.register(instance.sdk_connection)
    return sdk.of(instance.sdk_connection)


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the global option."""
    parser.add_argument(
        "--os-disk-audit-api-version",
        metavar="<disk-audit-api-version>",
        default=os.environ.get("OS_DISK_AUDIT_API_VERSION", ""),
        help=f"Disk audit API version, default={DEFAULT_API_VERSION} "
        "(Env: OS_DISK_AUDIT_API_VERSION)",
    )
    return parser

# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[guest]``."""

from oslo_config import cfg

from nova_diskaudit.conf import Settings

GROUP = cfg.OptGroup("guest", title="The guest agents")

DEFAULTS = Settings()

OPTIONS = [
    cfg.BoolOpt(
        "enabled",
        default=DEFAULTS.ask_guests,
        help="""
Ask guest agents what their filesystems use. This needs libvirt's read-write socket, which is as
good as root in every guest; without it the guest's part carries the code ``guest-not-asked``.""",
    ),
]

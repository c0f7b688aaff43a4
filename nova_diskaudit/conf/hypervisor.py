# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[hypervisor]``."""

from oslo_config import cfg

from nova_diskaudit.conf import Settings

GROUP = cfg.OptGroup("hypervisor", title="The libvirt daemon that is asked")

DEFAULTS = Settings()

OPTIONS = [
    cfg.StrOpt(
        "connection_uri",
        default=DEFAULTS.uri,
        help="""
libvirt connection URI of the hypervisor to audit.

Only a local daemon makes sense: what a disk holds is read from this host's own storage. A daemon
with a socket elsewhere is named by ``qemu:///system?socket=/path/to/libvirt-sock``.""",
    ),
]

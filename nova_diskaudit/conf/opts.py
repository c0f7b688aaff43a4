# SPDX-License-Identifier: Apache-2.0
"""All groups: for registration, and for ``oslo-config-generator`` by its entry point."""

from oslo_config import cfg

from nova_diskaudit.conf import audit, guest, hypervisor

GROUPS = (hypervisor, audit, guest)


def register(conf: cfg.ConfigOpts) -> None:
    """Make every option known to ``conf``."""
    for module in GROUPS:
        conf.register_group(module.GROUP)
        conf.register_opts(module.OPTIONS, group=module.GROUP)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Groups and options, the form oslo-config-generator asks for."""
    return [(module.GROUP, module.OPTIONS) for module in GROUPS]

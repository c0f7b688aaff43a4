# SPDX-License-Identifier: Apache-2.0
"""All groups: for registration, and for ``oslo-config-generator`` by its entry point."""

from oslo_config import cfg

from nova_diskaudit.conf import agent, audit, exporter, guest, hypervisor, publisher

GROUPS = (hypervisor, audit, guest, agent, exporter, publisher)


def register(conf: cfg.ConfigOpts) -> None:
    """Make every option known to ``conf``."""
    conf.register_opts(agent.DEFAULTS)
    for module in GROUPS:
        conf.register_group(module.GROUP)
        conf.register_opts(module.OPTIONS, group=module.GROUP)


def list_opts() -> list[tuple[cfg.OptGroup | None, list[cfg.Opt]]]:
    """Groups and options, the form oslo-config-generator asks for."""
    return [(None, agent.DEFAULTS), *((module.GROUP, module.OPTIONS) for module in GROUPS)]

# SPDX-License-Identifier: Apache-2.0
"""The groups: for registration, and for ``oslo-config-generator`` by its entry point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oslo_config import cfg

from nova_diskaudit.conf import agent, audit, exporter, guest, hypervisor, publisher

GROUPS = (hypervisor, audit, guest, agent, exporter, publisher)


def register(conf: cfg.ConfigOpts) -> None:
    """Make the options of :func:`registered` known to ``conf``."""
    for group, options in registered():
        if group is not None:
            conf.register_group(group)
        conf.register_opts(options, group=group)


def registered() -> list[tuple[cfg.OptGroup | None, list[cfg.Opt]]]:
    """Those that :func:`register` makes known: all but ``[disk_audit]``.

    That group imports keystoneauth, so only who talks to the central service registers it
    (:func:`nova_diskaudit.conf.disk_audit.register`).
    """
    return [(None, agent.DEFAULTS), *((module.GROUP, module.OPTIONS) for module in GROUPS)]


def values(conf: cfg.ConfigOpts) -> Iterator[tuple[str, cfg.Opt, Any]]:
    """Name (``[group] option``), option and value of each that :func:`register` makes known.

    :raises ValueError: for a value that its type refuses; oslo.config looks at one only then.
    """
    for group, options in registered():
        for option in options:
            value = (conf if group is None else conf[group.name])[option.dest]
            yield f"[{group.name if group else 'DEFAULT'}] {option.dest}", option, value


def list_opts() -> list[tuple[cfg.OptGroup | None, list[cfg.Opt]]]:
    """Groups and options, the form oslo-config-generator asks for."""
    from nova_diskaudit.conf import disk_audit

    return [*registered(), (disk_audit.GROUP, disk_audit.listed())]

# SPDX-License-Identifier: Apache-2.0
"""Options of the pollsters in Ceilometer: ``[nova_diskaudit]`` of ceilometer.conf."""

from __future__ import annotations

from oslo_config import cfg

GROUP = cfg.OptGroup("nova_diskaudit", title="What the disks of instances hold")

OPTIONS = [
    cfg.StrOpt(
        "agent_socket",
        default="/var/lib/nova-diskaudit/agent.sock",
        help="""
Socket of nova-diskaudit-agent on this host: ``agent.sock`` in its ``state_path``. Ceilometer's
user has to be in the socket's group (``[exporter] socket_group`` of the agent).""",
    ),
    cfg.FloatOpt(
        "timeout",
        default=10.0,
        min=1,
        max=300,
        help="Seconds within which the agent has to have said all.",
    ),
    cfg.IntOpt(
        "max_age",
        default=900,
        min=60,
        help="""
What was observed more than this many seconds ago (three cycles of the agent) is not sent:
Ceilometer gives every sample the time of the poll.""",
    ),
]


def register(conf: cfg.ConfigOpts) -> None:
    """Make the options known to Ceilometer's configuration.

    :raises ValueError: for a value that cannot be used.
    """
    conf.register_group(GROUP)
    conf.register_opts(OPTIONS, group=GROUP)
    for one in OPTIONS:
        conf[GROUP.name][one.dest]


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Groups and options, the form oslo-config-generator asks for."""
    return [(GROUP, OPTIONS)]

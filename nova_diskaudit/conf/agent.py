# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[agent]``, and the host's name."""

from oslo_config import cfg

GROUP = cfg.OptGroup("agent", title="The service of one compute node")

DEFAULTS = [
    cfg.StrOpt(
        "host",
        help="""
Name of this host as Nova knows it (``[DEFAULT] host`` of nova-compute). Unset: the host name, as
Nova itself takes it.""",
    ),
]

OPTIONS = [
    cfg.IntOpt(
        "interval",
        default=300,
        min=1,
        mutable=True,
        help="""
Seconds from one cycle to the next. Each host begins at a moment of its own within the first
interval after its first cycle, so that hosts started together do not report together.""",
    ),
    cfg.StrOpt(
        "state_path",
        default="/var/lib/nova-diskaudit",
        help="""
Directory for what must survive a restart: states that wait for the central service
(``agent.sqlite``), calls that are still pinned in libvirt, and the local socket
(``agent.sock``). Only the agent writes there.""",
    ),
    cfg.IntOpt(
        "full_cycles",
        default=12,
        min=1,
        mutable=True,
        help="""
Every domain is described, measured and its guest asked at least once in so many cycles, even if
its files did not change. The cost is spread over the cycles between.""",
    ),
    cfg.IntOpt(
        "backoff_min",
        default=60,
        min=1,
        mutable=True,
        help="""
Seconds for which a domain or guest agent that missed a deadline is left alone; doubled by each
further miss, up to ``backoff_max``.""",
    ),
    cfg.IntOpt("backoff_max", default=3600, min=1, mutable=True, help="See ``backoff_min``."),
    cfg.FloatOpt(
        "event_debounce",
        default=0.5,
        min=0,
        mutable=True,
        help="""
A guest can close and open its agent's channel as often as it likes. Such events of one domain
are answered when they have been quiet for so many seconds, and at most four times in
``backoff_min`` seconds.""",
    ),
]

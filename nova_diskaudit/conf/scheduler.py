# SPDX-License-Identifier: Apache-2.0
"""Options of the plugins in nova-scheduler: ``[nova_diskaudit]`` and ``[disk_audit]`` of nova.conf.

The second group is the agent's own, under the same names; only its user is another one.
"""

from __future__ import annotations

from oslo_config import cfg

GROUP = cfg.OptGroup("nova_diskaudit", title="What storage really holds, for scheduling")

OPTIONS = [
    cfg.FloatOpt(
        "min_free_ratio",
        default=0.05,
        min=0,
        max=1,
        help="""
``ActualDiskFilter`` refuses a host when less than this share of the storage with Nova's instances
is really free. 0: no such limit.""",
    ),
    cfg.IntOpt(
        "min_free_bytes",
        default=0,
        min=0,
        help="""
``ActualDiskFilter`` refuses a host when fewer bytes than this are really free there. Whichever of
the two limits is met first counts.""",
    ),
    cfg.BoolOpt(
        "project_limits",
        default=False,
        help="""
``ActualDiskFilter`` refuses new servers of a project that holds more than Keystone's limit
``disk_host_allocated_gib`` allows it. What hosts with ``host-claim-implausible`` say does not
count, nor what Nova does not confirm. Servers that exist can still be moved.""",
    ),
    cfg.FloatOpt(
        "weight_multiplier",
        default=1.0,
        help="""
How much ``ActualDiskWeigher`` counts beside Nova's own weighers. Negative: hosts with little free
space are preferred, so that they are filled one after the other.""",
    ),
    cfg.IntOpt(
        "refresh_interval",
        default=120,
        min=10,
        help="""
Seconds from one look at the central service to the next, in each worker of nova-scheduler. The
figures there change when an agent reports, by default every 300 s.""",
    ),
    cfg.IntOpt(
        "max_age",
        default=900,
        min=60,
        help="""
A report older than this many seconds (three cycles of an agent) says nothing any more, and the
plugins have no opinion about its host.""",
    ),
]


def register(conf: cfg.ConfigOpts) -> None:
    """Make ``[nova_diskaudit]`` known to Nova's configuration; ``[disk_audit]`` follows at use."""
    conf.register_group(GROUP)
    conf.register_opts(OPTIONS, group=GROUP)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Groups and options, the form oslo-config-generator asks for."""
    from nova_diskaudit.conf import disk_audit

    return [(GROUP, OPTIONS), (disk_audit.GROUP, disk_audit.listed())]

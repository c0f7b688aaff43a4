# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[reconcile]``: the periodic work of the central service."""

from oslo_config import cfg

GROUP = cfg.OptGroup("reconcile", title="Periodic work of the central service")

OPTIONS = [
    cfg.IntOpt(
        "interval",
        default=300,
        min=30,
        help="Seconds from one time that reports are held against Nova and Placement to the next.",
    ),
    cfg.BoolOpt(
        "allocations",
        help="""
Hold the disks of each instance against what Placement allocated for it. It needs the role ``admin``
in Placement, as ``[limits]`` does. Unset: as ``[nova] enabled``.""",
    ),
    cfg.IntOpt(
        "allocations_full_interval",
        default=21600,
        min=600,
        help="""
Seconds after which a provider is asked for its allocations though its generation did not change:
some changes leave no trace in it.""",
    ),
    cfg.IntOpt(
        "purge_after_days",
        default=90,
        min=0,
        max=36500,
        help="""
Once a day, hosts that have been silent for so many days are removed with all that they reported,
and instances that Nova deleted before and nobody reports any more. A host that comes back reports
everything anew. 0 removes nothing.""",
    ),
]

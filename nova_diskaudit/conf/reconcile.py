# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[reconcile]``: the periodic work of the central service."""

from oslo_config import cfg

GROUP = cfg.OptGroup("reconcile", title="Periodic work of the central service")

OPTIONS = [
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

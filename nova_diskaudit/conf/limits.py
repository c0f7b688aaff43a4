# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[limits]``: what projects may hold, and what they were promised."""

from oslo_config import cfg

GROUP = cfg.OptGroup("limits", title="Limits of projects, and their claims in Placement")

OPTIONS = [
    cfg.BoolOpt(
        "enabled",
        help="""
Keep the limits of Keystone and the claims of Placement, so that usages can be shown beside them.
Unset: as ``[nova] enabled``.""",
    ),
    cfg.IntOpt(
        "interval",
        default=60,
        min=5,
        help="Seconds from one look at Placement's claims to the next.",
    ),
    cfg.IntOpt(
        "limits_interval",
        default=120,
        min=5,
        help="Seconds from one look at Keystone's limits to the next; it is five questions.",
    ),
    cfg.IntOpt(
        "claims_per_interval",
        default=300,
        min=1,
        max=10000,
        help="""
Projects whose claim one look asks for, one after the other, those first that were not asked for
longest. 10,000 projects are so seen once in 34 minutes.""",
    ),
    cfg.BoolOpt(
        "nova_enforces",
        help="""
Whether Nova refuses servers beyond the limit ``class:DISK_GB``: it does with ``[quota] driver =
nova.quota.UnifiedLimitsDriver`` in Nova's own configuration, and with its default driver it does
not. Nova's API does not tell, so projects are told what is said here. Unset: they are told that it
is not known.""",
    ),
    cfg.BoolOpt(
        "scheduler_enforces",
        default=False,
        help="""
Whether new servers of a project past ``disk_host_allocated_gib`` are refused: ``ActualDiskFilter``
in Nova's scheduler does so with ``[nova_diskaudit] project_limits`` in nova.conf. Nothing here
depends on it but what projects are told.""",
    ),
]

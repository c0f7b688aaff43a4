# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[rollup]``: the sums over all projects, and how long the past is kept."""

from oslo_config import cfg

GROUP = cfg.OptGroup("rollup", title="Sums over all projects, and their past")

OPTIONS = [
    cfg.IntOpt(
        "interval",
        default=300,
        min=60,
        max=1800,
        help="""
Seconds from one pass over all projects to the next. Lists of all projects and ``/metrics`` are as
old as the last pass, and an hour of a project is as it was at the last pass within that hour.""",
    ),
    cfg.IntOpt(
        "project_history_days",
        default=90,
        min=1,
        max=3660,
        help="""
Days for which the hours of each project are kept. An hour of a project takes about 200 bytes.""",
    ),
    cfg.IntOpt(
        "instance_history_days",
        default=90,
        min=1,
        max=3660,
        help="""
Days for which the days of each instance are kept. A day of an instance takes about 300 bytes.""",
    ),
]

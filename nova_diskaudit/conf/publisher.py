# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[publisher]``."""

from oslo_config import cfg

GROUP = cfg.OptGroup("publisher", title="Reports to the central service")

OPTIONS = [
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="""
Send each cycle's state to the central service, as ``[disk_audit]`` says where and as whom. Off:
the agent serves this host alone.""",
    ),
    cfg.IntOpt(
        "spool_max_bytes",
        default=64 * 2**20,
        min=2**20,
        mutable=True,
        help="""
Bytes of states that may wait while the central service is away. The newest is always kept.""",
    ),
    cfg.IntOpt(
        "spool_max_age",
        default=7 * 86400,
        min=3600,
        mutable=True,
        help="Seconds after which a waiting state is given up. The newest is always kept.",
    ),
    cfg.IntOpt(
        "backoff_max",
        default=600,
        min=1,
        mutable=True,
        help="""
Seconds between two attempts while the central service does not take reports, at most; a
Retry-After of the service wins.""",
    ),
    cfg.IntOpt(
        "timeout",
        default=60,
        min=1,
        mutable=True,
        help="""
Seconds for one request from its beginning to the last byte of its answer, Keystone included,
however the other side spends them.""",
    ),
]

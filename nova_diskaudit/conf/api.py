# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[api]``: the central service."""

from oslo_config import cfg

GROUP = cfg.OptGroup("api", title="The central service")

OPTIONS = [
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=[
            ("keystone", "every request carries a token of Keystone, see [keystone_authtoken]"),
            (
                "noauth",
                "for one machine: whoever can connect over loopback is operator and agent; "
                "nobody else gets an answer",
            ),
        ],
        help="Who is believed to be who.",
    ),
    cfg.StrOpt(
        "enrollment",
        default="explicit",
        choices=[
            ("explicit", "only what was enrolled by nova-diskaudit-manage host enroll"),
            (
                "first-report",
                "as explicit, and the first report of a host that nobody spoke for enrolls its "
                "credential; whoever holds the role diskaudit_agent can then claim a name that is "
                "still free",
            ),
        ],
        help="Which application credentials may report for a host.",
    ),
    cfg.IntOpt(
        "takeover_after",
        default=900,
        min=1,
        help="""
Seconds of silence after which another agent (a reinstalled host, for example) may report for a
host. Until then it is refused, and the finding ``two-agents-one-host`` tells of it.""",
    ),
    cfg.IntOpt(
        "stale_after",
        default=3600,
        min=1,
        help="""
Seconds after which a host's last report is old: instances that are counted by it are told as
``stale`` in usages.""",
    ),
    cfg.IntOpt(
        "max_limit",
        default=1000,
        min=1,
        max=10000,
        help="Entries of a list that one answer has at most; also what it has without ``limit``.",
    ),
    cfg.IntOpt(
        "metrics_projects",
        default=200,
        min=0,
        max=10000,
        help="""
Projects of which ``/metrics`` has series of their own (16 each): those that hold the most. All
others are told together, as the project ``(others)``.""",
    ),
    cfg.PortOpt(
        "metrics_port",
        default=0,
        help="""
A TCP port of 127.0.0.1 on which ``nova-diskaudit-api`` answers ``/metrics`` without a token: to
everybody on this machine, and nobody else. 0: none. For uWSGI there is a file of its own,
nova-diskaudit-metrics-uwsgi.ini.""",
    ),
    cfg.IntOpt(
        "threads",
        default=8,
        min=1,
        help="Requests that ``nova-diskaudit-api`` answers at the same time. uWSGI has its own.",
    ),
]

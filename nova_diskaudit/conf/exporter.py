# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[exporter]``."""

from oslo_config import cfg

GROUP = cfg.OptGroup("exporter", title="Numbers for Prometheus, and the local socket")

OPTIONS = [
    cfg.StrOpt(
        "listen",
        default="127.0.0.1:9752",
        help="""
Address and port of ``/metrics``. It shows all projects of this host to whoever can connect, so
leave it on loopback, or put something that authenticates before it. Empty: no endpoint.""",
    ),
    cfg.StrOpt(
        "textfile",
        help="""
File that gets the same text after each cycle, for node_exporter's textfile collector (its name
must end in ``.prom``). Unset: none.""",
    ),
    cfg.StrOpt(
        "socket_group",
        help="""
Group that may read the local socket ``state_path/agent.sock`` (mode 0660). Unset: the agent's
own group.""",
    ),
]

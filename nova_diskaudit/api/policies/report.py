# SPDX-License-Identifier: Apache-2.0
"""Who may report."""

from nova_diskaudit.api.policies import base

PUT = "diskaudit:report:put"

RULES = [
    base.rule(
        PUT,
        base.AGENT,
        "Report for a host. Whatever this rule says, the token has to be one of an application "
        "credential that is enrolled for exactly that host, and no service token may come along.",
        "PUT",
        "/v1/hosts/{host}/report",
    ),
]

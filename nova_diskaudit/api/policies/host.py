# SPDX-License-Identifier: Apache-2.0
"""Who may see hosts."""

from nova_diskaudit.api.policies import base

LIST = "diskaudit:host:list"
SHOW = "diskaudit:host:show"

RULES = [
    base.rule(LIST, base.OPERATOR, "List the hosts that report.", "GET", "/v1/hosts"),
    base.rule(SHOW, base.OPERATOR, "Show one host.", "GET", "/v1/hosts/{host}"),
]

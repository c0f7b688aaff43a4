# SPDX-License-Identifier: Apache-2.0
"""Who may see findings."""

from nova_diskaudit.api.policies import base

LIST = "diskaudit:finding:list"
LIST_ALL = "diskaudit:finding:list:all"

RULES = [
    base.rule(
        LIST,
        base.PROJECT_READER,
        "List the findings about instances of the token's project.",
        "GET",
        "/v1/findings",
    ),
    base.rule(
        LIST_ALL,
        base.OPERATOR,
        "List all findings, those about hosts as well.",
        "GET",
        "/v1/findings",
    ),
]

# SPDX-License-Identifier: Apache-2.0
"""Who may see instances."""

from nova_diskaudit.api.policies import base

LIST = "diskaudit:instance:list"
LIST_ALL = "diskaudit:instance:list:all"
SHOW = "diskaudit:instance:show"
SHOW_ALL = "diskaudit:instance:show:all"

RULES = [
    base.rule(
        LIST,
        base.PROJECT_READER,
        "List the instances of the token's project: those that Nova confirms, without what tells "
        "of the host.",
        "GET",
        "/v1/instances",
    ),
    base.rule(
        LIST_ALL,
        base.OPERATOR,
        "List all instances, those that nobody confirms as well, with their hosts.",
        "GET",
        "/v1/instances",
    ),
    base.rule(
        SHOW,
        base.PROJECT_READER,
        "Show one instance of the token's project.",
        "GET",
        "/v1/instances/{uuid}",
    ),
    base.rule(SHOW_ALL, base.OPERATOR, "Show any instance.", "GET", "/v1/instances/{uuid}"),
]

# SPDX-License-Identifier: Apache-2.0
"""Who may see what projects hold."""

from nova_diskaudit.api.policies import base

LIST = "diskaudit:usage:list"
LIST_ALL = "diskaudit:usage:list:all"
HISTORY = "diskaudit:usage:history"
HISTORY_ALL = "diskaudit:usage:history:all"

RULES = [
    base.rule(
        LIST,
        base.PROJECT_READER,
        "See what the token's project holds.",
        "GET",
        "/v1/usages",
    ),
    base.rule(LIST_ALL, base.OPERATOR, "See what all projects hold.", "GET", "/v1/usages"),
    base.rule(
        HISTORY,
        base.PROJECT_READER,
        "See what the token's project, or one of its instances, held before.",
        "GET",
        "/v1/usages/history",
    ),
    base.rule(
        HISTORY_ALL,
        base.OPERATOR,
        "See what any project or instance held before.",
        "GET",
        "/v1/usages/history",
    ),
]

# SPDX-License-Identifier: Apache-2.0
"""Rules that the others are made of."""

from __future__ import annotations

from oslo_policy import policy

OPERATOR = "rule:diskaudit_operator"
PROJECT_READER = "rule:diskaudit_project_reader"
AGENT = "rule:diskaudit_agent"

#: There are no tokens of the system or of a domain for this service.
SCOPES = ["project"]

RULES = [
    policy.RuleDefault(
        name="diskaudit_operator",
        check_str="role:admin or role:diskaudit_auditor",
        description="Sees all projects and hosts. Writes nothing.",
        scope_types=SCOPES,
    ),
    policy.RuleDefault(
        name="diskaudit_project_reader",
        check_str="role:reader and project_id:%(project_id)s",
        description="Sees what is verified to belong to the token's own project.",
        scope_types=SCOPES,
    ),
    policy.RuleDefault(
        name="diskaudit_agent",
        check_str="role:diskaudit_agent",
        description="Reports, for the one host that its application credential is enrolled for. "
        "It reads nothing.",
        scope_types=SCOPES,
    ),
]


def rule(name: str, check_str: str, description: str, method: str, path: str) -> policy.RuleDefault:
    """One documented rule."""
    return policy.DocumentedRuleDefault(
        name=name,
        check_str=check_str,
        description=description,
        operations=[{"method": method, "path": path}],
        scope_types=SCOPES,
    )

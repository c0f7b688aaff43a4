# SPDX-License-Identifier: Apache-2.0
"""Who may do what, as rules with defaults that an operator's ``policy.yaml`` overrides.

A noun that tenants read has two rules a call: one for all projects, one for the token's own.
"""

from __future__ import annotations

from oslo_policy import policy

from nova_diskaudit.api.policies import base, finding, host, instance, metrics, report, usage


def list_rules() -> list[policy.RuleDefault]:
    """All rules, in the order in which they are documented."""
    modules = (base, report, host, instance, finding, usage, metrics)
    return [rule for module in modules for rule in module.RULES]

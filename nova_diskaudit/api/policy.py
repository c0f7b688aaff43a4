# SPDX-License-Identifier: Apache-2.0
"""What a caller may: the rules of :mod:`.policies`, enforced by oslo.policy."""

from __future__ import annotations

from typing import NamedTuple

from oslo_config import cfg
from oslo_context import context
from oslo_policy import policy

from nova_diskaudit.api import errors, policies
from nova_diskaudit.store import scope


class Public(NamedTuple):
    """Anybody may, without a token."""


class ByRule(NamedTuple):
    """Whom one rule allows. What is read belongs to no tenant."""

    rule: str


class ByProject(NamedTuple):
    """Whom ``everything`` allows sees all projects, whom ``own`` allows the token's own."""

    own: str
    everything: str


Access = Public | ByRule | ByProject


def make(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """The enforcer; the operator's file is read at its first use, and again when it changes."""
    enforcer = policy.Enforcer(conf)
    enforcer.register_defaults(policies.list_rules())
    return enforcer


def enforcer() -> policy.Enforcer:
    """For the tools of oslo.policy, which find it by its entry point."""
    from nova_diskaudit.conf import service

    made = make(service.read())
    made.load_rules()
    return made


def scope_of(
    enforcer: policy.Enforcer, access: ByRule | ByProject, caller: context.RequestContext
) -> scope.Scope:
    """What the caller may see.

    :raises errors.ApiError: 403, when that is nothing.
    """
    if isinstance(access, ByRule):
        if _allows(enforcer, access.rule, caller):
            return scope.Everything()
        raise errors.forbidden(f"the policy {access.rule} does not allow it")
    if _allows(enforcer, access.everything, caller):
        return scope.Everything()
    if caller.project_id and _allows(enforcer, access.own, caller):
        return scope.OfProject(caller.project_id)
    raise errors.forbidden(f"the policy {access.own} does not allow it")


def _allows(enforcer: policy.Enforcer, rule: str, caller: context.RequestContext) -> bool:
    target = {"project_id": caller.project_id}
    try:
        return bool(enforcer.authorize(rule, target, caller, do_raise=False))
    except policy.InvalidScope:
        return False

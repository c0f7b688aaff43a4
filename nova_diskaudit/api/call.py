# SPDX-License-Identifier: Apache-2.0
"""What a handler is given, and what it gives back."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import falcon
import sqlalchemy as sa
from oslo_context import context
from oslo_policy import policy

from nova_diskaudit.store import scope


class Service(NamedTuple):
    """What all calls have in common."""

    engine: sa.Engine
    enforcer: policy.Enforcer
    #: whether Nova's ledger is kept
    nova: bool
    #: whether a report needs an enrolled credential, and whether the first one enrolls it
    enrollment: bool
    first_report_enrolls: bool
    takeover_after_seconds: float
    max_limit: int
    #: a host's report that is older is called stale
    stale_after_seconds: float
    #: whether ActualDiskFilter in Nova's scheduler refuses projects past their limit
    scheduler_enforces: bool
    #: whether Gnocchi is sent what is verified
    gnocchi: bool
    #: of how many projects /metrics has series of their own
    metrics_projects: int
    now: Callable[[], datetime.datetime]
    #: the OpenAPI document
    document: dict[str, Any]


class Call(NamedTuple):
    """One request that its caller may make."""

    service: Service
    request: falcon.Request
    path: dict[str, str]
    #: decoded as the route says
    query: Any
    caller: context.RequestContext
    #: what the caller may see
    who: scope.Scope

    @property
    def is_operator(self) -> bool:
        """Whether the caller sees everything, hosts included."""
        return isinstance(self.who, scope.Everything)


class Answer(NamedTuple):
    """A success: a struct, or text as it is."""

    body: Any
    status: int = 200
    #: None where there is no body
    content_type: str | None = "application/json"
    headers: Mapping[str, str] = {}  # never changed

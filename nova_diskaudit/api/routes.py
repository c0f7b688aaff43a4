# SPDX-License-Identifier: Apache-2.0
"""The whole API at a glance: every call, who may, what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from nova_diskaudit import protocol
from nova_diskaudit.api.call import Answer, Call
from nova_diskaudit.api.handlers import (
    finding,
    healthcheck,
    host,
    instance,
    metrics,
    openapi,
    page,
    report,
    root,
    usage,
)
from nova_diskaudit.api.policies import finding as finding_policies
from nova_diskaudit.api.policies import host as host_policies
from nova_diskaudit.api.policies import instance as instance_policies
from nova_diskaudit.api.policies import metrics as metrics_policies
from nova_diskaudit.api.policies import report as report_policies
from nova_diskaudit.api.policies import usage as usage_policies
from nova_diskaudit.api.policy import Access, ByProject, ByRule, Public
from nova_diskaudit.api.schemas import common
from nova_diskaudit.api.schemas import finding as finding_schemas
from nova_diskaudit.api.schemas import healthcheck as healthcheck_schemas
from nova_diskaudit.api.schemas import host as host_schemas
from nova_diskaudit.api.schemas import instance as instance_schemas
from nova_diskaudit.api.schemas import page as page_schemas
from nova_diskaudit.api.schemas import report as report_schemas
from nova_diskaudit.api.schemas import root as root_schemas
from nova_diskaudit.api.schemas import usage as usage_schemas


class Route(NamedTuple):
    """One call. ``answer`` is its success: a struct, or ``str`` for text."""

    method: str
    path: str
    handler: Callable[[Call], Answer]
    access: Access
    answer: Any
    summary: str
    query: Any = None
    body: Any = None
    #: answers that are no success, beside those that every call may have
    problems: dict[int, Any] = {}  # noqa: RUF012  # never changed
    #: the types that a text may be of
    media: tuple[str, ...] = ("text/plain",)


ROUTES = (
    Route(
        "GET",
        "/",
        root.shown,
        Public(),
        root_schemas.Versions,
        "Versions of the API",
    ),
    Route(
        "GET",
        "/healthcheck",
        healthcheck.shown,
        Public(),
        healthcheck_schemas.Health,
        "Whether requests may be sent here",
    ),
    Route(
        "GET",
        "/v1/openapi.json",
        openapi.shown,
        Public(),
        dict[str, Any],
        "This API as an OpenAPI document",
    ),
    Route(
        "GET",
        "/page",
        page.shown,
        Public(),
        str,
        "The page for people",
        media=("text/html",),
    ),
    Route(
        "GET",
        "/page/{file}",
        page.file,
        Public(),
        str,
        "What the page is made of",
        problems={404: common.Errors},
        media=("text/css", "text/javascript", "image/svg+xml"),
    ),
    Route(
        "GET",
        "/metrics",
        metrics.shown,
        ByRule(metrics_policies.SHOW),
        str,
        "Numbers for Prometheus",
    ),
    Route(
        "PUT",
        "/v1/hosts/{host}/report",
        report.put,
        ByRule(report_policies.PUT),
        report_schemas.Accepted,
        "Report for a host",
        body=protocol.Report,
        problems={
            409: report_schemas.Refused,
            411: common.Errors,
            413: common.Errors,
            415: common.Errors,
        },
    ),
    Route(
        "GET",
        "/v1/hosts",
        host.listed,
        ByRule(host_policies.LIST),
        host_schemas.Hosts,
        "Hosts that report",
        query=host_schemas.ListQuery,
    ),
    Route(
        "GET",
        "/v1/hosts/{host}",
        host.shown,
        ByRule(host_policies.SHOW),
        host_schemas.Host,
        "One host",
        problems={404: common.Errors},
    ),
    Route(
        "GET",
        "/v1/instances",
        instance.listed,
        ByProject(own=instance_policies.LIST, everything=instance_policies.LIST_ALL),
        instance_schemas.Instances,
        "Instances and what their disks hold",
        query=instance_schemas.ListQuery,
    ),
    Route(
        "GET",
        "/v1/instances/{uuid}",
        instance.shown,
        ByProject(own=instance_policies.SHOW, everything=instance_policies.SHOW_ALL),
        instance_schemas.Instance,
        "One instance",
        query=instance_schemas.ShowQuery,
        problems={404: common.Errors},
    ),
    Route(
        "GET",
        "/v1/findings",
        finding.listed,
        ByProject(own=finding_policies.LIST, everything=finding_policies.LIST_ALL),
        finding_schemas.Findings,
        "Findings",
        query=finding_schemas.ListQuery,
    ),
    Route(
        "GET",
        "/v1/usages",
        usage.listed,
        ByProject(own=usage_policies.LIST, everything=usage_policies.LIST_ALL),
        usage_schemas.Usages,
        "What projects hold",
        query=usage_schemas.ListQuery,
    ),
    Route(
        "GET",
        "/v1/usages/history",
        usage.history,
        ByProject(own=usage_policies.HISTORY, everything=usage_policies.HISTORY_ALL),
        usage_schemas.History,
        "What a project or an instance held before",
        query=usage_schemas.HistoryQuery,
    ),
)

#: What stands in a path.
PATH_TYPES = {"file": page_schemas.FileName, "host": common.HostName, "uuid": common.Uuid}

#: Structs of which a caller may choose some fields: any of them may be missing in an answer.
CHOOSABLE = (instance_schemas.Instance,)

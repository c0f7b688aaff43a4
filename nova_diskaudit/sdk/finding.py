# SPDX-License-Identifier: Apache-2.0
"""A finding about an instance or a host."""

from __future__ import annotations

from openstack import resource


class Finding(resource.Resource):
    """One conclusion; its id is its place in the list. Times are UTC."""

    base_path = "/v1/findings"
    resources_key = "findings"
    allow_list = True
    _query_mapping = resource.QueryParameters(
        "project_id", "host", "instance", "code", "severity", "origin"
    )

    code = resource.Body("code")
    #: info, warning or error
    severity = resource.Body("severity")
    #: agent or reconcile: who drew it
    origin = resource.Body("origin")
    message = resource.Body("message")
    #: what to do
    action = resource.Body("action")
    #: when it first appeared
    since = resource.Body("since")
    host = resource.Body("host")
    #: UUID of the instance; None if it is about the host
    instance = resource.Body("instance")
    project_id = resource.Body("project_id")
    #: targets of the disks that it is about
    disks = resource.Body("disks", type=list)

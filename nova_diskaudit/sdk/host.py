# SPDX-License-Identifier: Apache-2.0
"""A host that reports."""

from __future__ import annotations

from openstack import resource


class Host(resource.Resource):
    """What the service knows of one host; its id is its name in Nova. Times are UTC."""

    base_path = "/v1/hosts"
    resources_key = "hosts"
    allow_fetch = True
    allow_list = True

    name = resource.Body("name", alternate_id=True)
    #: id of the report that is current
    report_id = resource.Body("report_id")
    #: id of the agent that sent it
    agent = resource.Body("agent")
    #: when the agent began to look
    as_of = resource.Body("as_of")
    #: when the service got it, by its own clock
    received_at = resource.Body("received_at")
    #: sums over the local disks of all that is sighted on it
    instances = resource.Body("instances", type=int)
    disks = resource.Body("disks", type=int)
    virtual_bytes = resource.Body("virtual_bytes", type=int)
    host_allocated_bytes = resource.Body("host_allocated_bytes", type=int)
    storages = resource.Body("storages", type=list)
    findings = resource.Body("findings", type=list)

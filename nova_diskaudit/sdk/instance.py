# SPDX-License-Identifier: Apache-2.0
"""An instance and what its disks hold."""

from __future__ import annotations

from openstack import resource


class Instance(resource.Resource):
    """The fields of :class:`nova_diskaudit.record.Instance`, and the host that reported it."""

    base_path = "/v1/instances"
    resources_key = "instances"
    allow_fetch = True
    allow_list = True
    _query_mapping = resource.QueryParameters("host", "project_id")

    uuid = resource.Body("uuid", alternate_id=True)
    host = resource.Body("host")
    domain = resource.Body("domain")
    state = resource.Body("state")
    as_of = resource.Body("as_of")
    project_id = resource.Body("project_id")
    user_id = resource.Body("user_id")
    flavor = resource.Body("flavor")
    guest = resource.Body("guest", type=dict)
    filesystems = resource.Body("filesystems", type=list)
    findings = resource.Body("findings", type=list)
    disks = resource.Body("disks", type=list)

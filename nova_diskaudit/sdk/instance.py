# SPDX-License-Identifier: Apache-2.0
"""An instance and what its disks hold."""

from __future__ import annotations

from openstack import resource


class Instance(resource.Resource):
    """An instance as the service believes it; its id is its UUID. Times are UTC.

    What tells of the host is None for a project's reader.
    """

    base_path = "/v1/instances"
    resources_key = "instances"
    allow_fetch = True
    allow_list = True
    #: ``min_reclaimable`` is in bytes; ``sort`` a key with ``:asc`` or ``:desc``
    _query_mapping = resource.QueryParameters(
        "project_id", "host", "finding", "min_reclaimable", "trust", "sort", "fields"
    )

    uuid = resource.Body("uuid", alternate_id=True)
    #: the name that its owner gave it, from Nova
    name = resource.Body("name")
    #: whose it is, from Nova
    project_id = resource.Body("project_id")
    user_id = resource.Body("user_id")
    #: whose it says it is
    claimed_project_id = resource.Body("claimed_project_id")
    host = resource.Body("host")
    domain = resource.Body("domain")
    #: whether Nova confirms owner and host
    is_verified = resource.Body("verified", type=bool)
    #: verified, pending or unverified
    trust = resource.Body("trust")
    state = resource.Body("state")
    flavor = resource.Body("flavor")
    #: when it was looked at
    as_of = resource.Body("as_of")
    #: when the service got its host's report, by its own clock
    received_at = resource.Body("received_at")
    #: when it was first reported from this host
    since = resource.Body("since")
    #: sums over its local disks
    totals = resource.Body("totals", type=dict)
    guest = resource.Body("guest", type=dict)
    filesystems = resource.Body("filesystems", type=list)
    findings = resource.Body("findings", type=list)
    disks = resource.Body("disks", type=list)
    #: where else it is sighted; only of one instance, and for operators
    other_sightings = resource.Body("other_sightings", type=list)

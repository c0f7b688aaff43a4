# SPDX-License-Identifier: Apache-2.0
"""What a project's disks hold, now and before."""

from __future__ import annotations

from openstack import resource


class Usage(resource.Resource):
    """Sums over a project's verified instances; its id is the project's. Times are UTC."""

    base_path = "/v1/usages"
    resources_key = "usages"
    allow_list = True
    _query_mapping = resource.QueryParameters("project_id")

    project_id = resource.Body("project_id", alternate_id=True)
    #: whether Nova confirms whose the instances are
    is_verified = resource.Body("verified", type=bool)
    #: of the oldest observation that counts; None when there is none
    as_of = resource.Body("as_of")
    #: when it was added up
    computed_at = resource.Body("computed_at")
    #: sums over the local disks, in bytes, and how many disks each could not include; of what has
    #: no upper bound, used_high_bytes and reclaimable_high_bytes are None
    totals = resource.Body("totals", type=dict)
    #: how many instances the sums rest on, and why the others are missing: ``reasons`` is a list of
    #: dicts with ``lacks`` (host or guest), ``code`` and ``instances``
    coverage = resource.Body("coverage", type=dict)
    #: limits of Keystone with what counts against each
    limits = resource.Body("limits", type=list)


class UsagePoint(resource.Resource):
    """The last state known within one hour of a project, or one day of an instance."""

    base_path = "/v1/usages/history"
    resources_key = "history"
    allow_list = True
    #: ``instance`` is a UUID; ``start`` and ``end`` are times in ISO 8601
    _query_mapping = resource.QueryParameters("project_id", "instance", "start", "end")

    #: begin of the hour or day
    at = resource.Body("at", alternate_id=True)
    as_of = resource.Body("as_of")
    totals = resource.Body("totals", type=dict)
    coverage = resource.Body("coverage", type=dict)

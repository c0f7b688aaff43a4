# SPDX-License-Identifier: Apache-2.0
"""The service's answers as flat rows, in its own words.

A sum of which nothing is known is None here, where the service tells a sum of 0 and how many disks
are missing in it: in a table of numbers 0 would be read as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nova_diskaudit.osc.fields import Row

if TYPE_CHECKING:
    from nova_diskaudit.sdk.finding import Finding
    from nova_diskaudit.sdk.host import Host
    from nova_diskaudit.sdk.instance import Instance
    from nova_diskaudit.sdk.usage import Usage, UsagePoint

#: Sums over disks: bytes, and the counter of disks that are not in them, if there is one.
_SUMS = (
    ("virtual_bytes", "virtual_unknown"),
    ("host_allocated_bytes", "host_allocated_unknown"),
    ("guest_used_bytes", "guest_used_unknown"),
    ("used_low_bytes", None),
    ("used_high_bytes", None),
    ("reclaimable_low_bytes", "host_allocated_unknown"),
    ("reclaimable_likely_bytes", "host_allocated_unknown"),
    ("reclaimable_high_bytes", "host_allocated_unknown"),
)


def of_usage(usage: Usage, project_name: str | None) -> Row:
    """A project's usage."""
    coverage = usage.coverage or {}
    measured = coverage.get("host_measured")
    return {
        "project_id": usage.project_id,
        "project_name": project_name,
        "verified": usage.is_verified,
        "as_of": usage.as_of,
        "computed_at": usage.computed_at,
        **sums(usage.totals, is_seen=not coverage.get("instances") or bool(measured)),
        "instances": coverage.get("instances"),
        "host_measured": measured,
        "guest_measured": coverage.get("guest_measured"),
        "stale": coverage.get("stale"),
        "reasons": coverage.get("reasons") or [],
        "limits": usage.limits or [],
    }


def of_unknown_project() -> Row:
    """The same where there is no project that could be shown."""
    words = ("project_id", "project_name", "verified", "as_of", "computed_at")
    counters = ("instances", "host_measured", "guest_measured", "stale")
    unknown = dict.fromkeys((*words, *counters))
    return {**unknown, **sums(None), "reasons": [], "limits": []}


def of_point(point: UsagePoint) -> Row:
    """One hour or day of the past."""
    coverage = point.coverage or {}
    measured = coverage.get("host_measured")
    return {
        "at": point.at,
        "as_of": point.as_of,
        **sums(point.totals, is_seen=not coverage.get("instances") or bool(measured)),
        "instances": coverage.get("instances"),
        "host_measured": measured,
        "guest_measured": coverage.get("guest_measured"),
    }


def of_instance(instance: Instance) -> Row:
    """An instance; of its disks only what was asked for is there."""
    guest = instance.guest or {}
    details = _findings(instance)
    return {
        "uuid": instance.uuid,
        "name": instance.name,
        "project_id": instance.project_id,
        "host": instance.host,
        "domain": instance.domain,
        "state": instance.state,
        "flavor": instance.flavor,
        "trust": instance.trust,
        "as_of": instance.as_of,
        "received_at": instance.received_at,
        "since": instance.since,
        # A domain that nobody could describe has no disks to be wrong about.
        **sums(instance.totals, is_seen=instance.state != "unknown"),
        "guest_state": guest.get("state"),
        "guest_as_of": guest.get("as_of"),
        "guest_checked_at": guest.get("checked_at"),
        "findings": sorted({one["code"] for one in details}),
        "finding_details": details,
        "disk_details": instance.disks or [],
        "filesystems": instance.filesystems or [],
        "other_sightings": instance.other_sightings or [],
    }


def of_finding(finding: Finding) -> Row:
    """A finding."""
    return {
        "id": finding.id,
        "severity": finding.severity,
        "code": finding.code,
        "origin": finding.origin,
        "host": finding.host,
        "instance": finding.instance,
        "project_id": finding.project_id,
        "disks": finding.disks or [],
        "since": finding.since,
        "message": finding.message,
        "action": finding.action,
    }


def of_host(host: Host) -> Row:
    """A host that reports."""
    storages = host.storages or []
    return {
        "name": host.name,
        "agent": host.agent,
        "report_id": host.report_id,
        "as_of": host.as_of,
        "received_at": host.received_at,
        "instances": host.instances,
        "disks": host.disks,
        "virtual_bytes": host.virtual_bytes,
        "host_allocated_bytes": host.host_allocated_bytes,
        "storage_total_bytes": _whole(storages, "total_bytes"),
        "storage_free_bytes": _whole(storages, "free_bytes"),
        "storages": storages,
        "findings": [one["code"] for one in host.findings or []],
        "finding_details": host.findings or [],
    }


def sums(totals: Mapping[str, Any] | None, *, is_seen: bool = True) -> dict[str, int | None]:
    """The sums of ``totals``, None where nothing is known.

    :param is_seen: whether anybody looked; where nobody did, no disks does not mean no bytes.
    """
    told = totals or {}
    disks = told.get("disks")
    nobody = totals is None or (not disks and not is_seen)
    known: dict[str, int | None] = {"disks": None if nobody else disks}
    for name, counter in _SUMS:
        missing = counter is not None and disks and told.get(counter) == disks
        known[name] = None if nobody or missing else told.get(name)
        if counter == name.replace("_bytes", "_unknown"):
            known[counter] = None if nobody else told.get(counter)
    return known


def _findings(instance: Instance) -> list[dict[str, Any]]:
    """Those about the whole, then those about its disks, as ``disk`` says."""
    places = [(None, instance.findings or [])]
    places += [(disk["target"], disk["findings"]) for disk in instance.disks or []]
    return [{**one, "disk": target} for target, found in places for one in found]


def _whole(storages: list[Mapping[str, Any]], key: str) -> int | None:
    """A sum without gaps; None if there are any, or nothing to sum."""
    values = [one.get(key) for one in storages]
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None

# SPDX-License-Identifier: Apache-2.0
"""The whole of one audit, from options to report."""

from __future__ import annotations

from nova_diskaudit.audit.observer import Observer
from nova_diskaudit.audit.options import Options
from nova_diskaudit.conclude import conclude
from nova_diskaudit.lane.lanes import Lanes
from nova_diskaudit.record import HostReport


def sweep(options: Options) -> HostReport:
    """Audit every domain of this host, or those that ``options.instances`` names.

    :raises AuditError: without a connection or an inventory, or for an unknown instance.
    """
    with Lanes(options.uri, state_path=options.state_path) as lanes:
        return conclude(Observer(lanes, options).host())


def could_not_be_audited(report: HostReport) -> list[str]:
    """Names of the instances that lack a number which the host should have given."""
    return [
        instance.domain
        for instance in report.instances
        if any(
            finding.severity == "error"
            for findings in (instance.findings, *(disk.findings for disk in instance.disks))
            for finding in findings
        )
    ]

# SPDX-License-Identifier: Apache-2.0
"""The scheduler filter: no new servers where storage is really full.

In nova.conf::

    [filter_scheduler]
    available_filters = nova.scheduler.filters.all_filters
    available_filters = nova_diskaudit.scheduler.filters.ActualDiskFilter
    enabled_filters = ...,ActualDiskFilter
"""

from __future__ import annotations

import logging
import time
from typing import Any

import nova.conf
from nova.scheduler import filters

from nova_diskaudit.conf import scheduler as options
from nova_diskaudit.scheduler import keeper

LOG = logging.getLogger(__name__)

options.register(nova.conf.CONF)


class ActualDiskFilter(filters.BaseHostFilter):
    """Refuses hosts whose really free bytes fall under a watermark.

    And, if ``[nova_diskaudit] project_limits`` is on, new servers of projects past their limit.
    """

    #: The server is there already.
    RUN_ON_REBUILD = False
    #: The snapshot does not change by what this request places.
    run_filter_once_per_request = True

    def __init__(self) -> None:
        self._keeper = keeper.of(nova.conf.CONF)
        self._has_failed = False

    def host_passes(self, host_state: Any, spec_obj: Any) -> bool:
        """Whether a server may come to this host; always, where nothing is known."""
        try:
            snapshot, now = self._keeper.current(), time.monotonic()
            if snapshot.projects and (
                snapshot.is_past_limit(spec_obj.project_id, now) and not _is_moved(spec_obj)
            ):
                return False
            reading = snapshot.reading(host_state.host, now)
            return reading is None or not reading.is_full or not _has_local_disks(spec_obj)
        except Exception:
            if not self._has_failed:
                self._has_failed = True
                LOG.exception("Disk audit: no opinion about a host, for a fault of this filter")
            return True


def _has_local_disks(spec_obj: Any) -> bool:
    """Whether it needs more of the host than a config drive and a log: all does but volumes."""
    flavor = spec_obj.flavor
    boots_from_volume = "is_bfv" in spec_obj and spec_obj.is_bfv
    return not boots_from_volume or bool(flavor.ephemeral_gb or flavor.swap)


def _is_moved(spec_obj: Any) -> bool:
    """Whether the server exists: resize, migration, evacuation, unshelving.

    Those are bound to a cell, or free of it on purpose, and nothing else is (Nova 34.0.0,
    ``nova/conductor``, ``nova/scheduler/weights/cross_cell.py``).
    """
    if "requested_destination" not in spec_obj or not spec_obj.requested_destination:
        return False
    to = spec_obj.requested_destination
    return bool(("cell" in to and to.cell) or to.allow_cross_cell_move)

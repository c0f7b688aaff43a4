# SPDX-License-Identifier: Apache-2.0
"""The scheduler weigher: new servers go where most is really free.

In nova.conf::

    [filter_scheduler]
    weight_classes = nova.scheduler.weights.all_weighers
    weight_classes = nova_diskaudit.scheduler.weights.ActualDiskWeigher
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Sequence
from typing import Any

import nova.conf
from nova.scheduler import weights

from nova_diskaudit.conf import scheduler as options
from nova_diskaudit.scheduler import keeper

LOG = logging.getLogger(__name__)

options.register(nova.conf.CONF)


class ActualDiskWeigher(weights.BaseHostWeigher):
    """Prefers hosts by the bytes that are really free where their instances lie.

    Less what Nova placed there since: that is not in a report yet. A storage that several hosts
    share is one storage, and what any of them took is gone for all. A host about which nothing
    is known gets the mean of the others: neither preferred nor avoided.
    """

    def __init__(self) -> None:
        self._keeper = keeper.of(nova.conf.CONF)
        self._has_failed = False
        self._multiplier = 0.0
        try:
            self._multiplier = nova.conf.CONF.nova_diskaudit.weight_multiplier
        except Exception:
            LOG.exception("Disk audit: ActualDiskWeigher is off")

    def weight_multiplier(self, host_state: Any) -> float:
        """``[nova_diskaudit] weight_multiplier``, the same for all hosts."""
        return self._multiplier

    def _weigh_object(self, host_state: Any, weight_properties: Any) -> float:
        """One host alone, which compares with nothing."""
        return 0.0

    def weigh_objects(self, weighed_obj_list: Sequence[Any], weight_properties: Any) -> list[float]:
        """Bytes, one number for each host."""
        try:
            return self._weights([one.obj for one in weighed_obj_list])
        except Exception:
            if not self._has_failed:
                self._has_failed = True
                LOG.exception("Disk audit: no opinion about any host, for a fault of this weigher")
            return [0.0] * len(weighed_obj_list)

    def _weights(self, hosts: Sequence[Any]) -> list[float]:
        snapshot, now = self._keeper.current(), time.monotonic()
        readings = [snapshot.reading(one.host, now) for one in hosts]
        promised: dict[object, int] = {}
        for one, reading in zip(hosts, readings, strict=True):
            if reading is not None:
                taken = reading.promised_bytes(one.host, one.free_disk_mb)
                promised[reading.identity] = promised.get(reading.identity, 0) + taken
        known = [one.free_bytes - promised[one.identity] for one in readings if one is not None]
        usual = statistics.fmean(known) if known else 0.0
        free = iter(known)
        return [usual if one is None else float(next(free)) for one in readings]

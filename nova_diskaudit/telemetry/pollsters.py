# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's pollsters ``diskaudit.host.allocated`` and ``diskaudit.guest.used``, in bytes.

Resources are as those of ``disk.device.*``: ``<instance>-<target>``. What is not known is not sent.
"""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from ceilometer import sample
from ceilometer.compute.pollsters import util
from ceilometer.polling import plugin_base

from nova_diskaudit.conf import telemetry as options
from nova_diskaudit.record import Instance
from nova_diskaudit.telemetry import facts
from nova_diskaudit.telemetry.facts import Facts, Measure

LOG = logging.getLogger(__name__)

#: of the cache that Ceilometer keeps for one cycle
_KEY = "nova_diskaudit"
# Pollsters may run in threads beside each other: one reads, the others wait for it.
_reading = threading.Lock()
#: by socket, what was said last about why nothing is sent
_told: dict[str, str | None] = {}


class _Pollster(plugin_base.PollsterBase):
    NAME: ClassVar[str]
    measures: ClassVar[Callable[..., Iterator[Measure]]]

    def setup_environment(self) -> None:
        """Begin with the options, or not at all.

        :raises ValueError: for one that cannot be used. Ceilometer goes on without this pollster,
            and says why only at level DEBUG.
        """
        try:
            options.register(self.conf)
        except ValueError as error:
            LOG.error("No samples of %s: [%s] %s", self.NAME, options.GROUP.name, error)
            raise

    @property
    def default_discovery(self) -> str:
        return "local_instances"

    def get_samples(
        self, manager: Any, cache: dict[str, Any], resources: Iterable[Any]
    ) -> Iterator[sample.Sample]:
        """One for each disk whose number is known."""
        own, now = self.conf.nova_diskaudit, datetime.datetime.now(datetime.UTC)
        known = _facts(cache, own, now)
        for resource in resources:
            instance: Instance | None = known.instances.get(resource.id)
            if instance is None:
                continue
            for measure in type(self).measures(instance, max_age=own.max_age, now=now):
                yield self._sample(resource, measure)

    def _sample(self, resource: Any, measure: Measure) -> sample.Sample:
        return util.make_sample_from_instance(
            self.conf,
            resource,
            name=self.NAME,
            type=sample.TYPE_GAUGE,
            unit="B",
            volume=measure.bytes,
            resource_id=f"{resource.id}-{measure.disk.target}",
            additional_metadata={
                "disk_name": measure.disk.target,
                "disk_kind": measure.disk.kind,
                "as_of": measure.as_of.isoformat(),
            },
        )


class HostAllocatedPollster(_Pollster):
    """What the storage holds for a disk, as the host counts it."""

    NAME = "diskaudit.host.allocated"
    measures = staticmethod(facts.held)


class GuestUsedPollster(_Pollster):
    """What a guest says that its filesystems use on a disk: a tenant's claim."""

    NAME = "diskaudit.guest.used"
    measures = staticmethod(facts.used)


def _facts(cache: dict[str, Any], own: Any, now: datetime.datetime) -> Facts:
    """Of this cycle: asked for once, and complained about once until it is well again."""
    with _reading:
        if _KEY not in cache:
            path = own.agent_socket
            known = cache[_KEY] = facts.read(
                path, seconds=own.timeout, max_age=own.max_age, now=now
            )
            if known.problem is not None and _told.get(path) is None:
                LOG.warning("No samples of nova-diskaudit: %s", known.problem)
            elif known.problem is None and _told.get(path) is not None:
                LOG.info("Samples of nova-diskaudit again: the agent answers on %s", path)
            _told[path] = known.problem
        found: Facts = cache[_KEY]
        return found

# SPDX-License-Identifier: Apache-2.0
"""Reports to the central service, as ``[publisher]`` and ``[disk_audit]`` say.

Switched off, nothing of it exists: no spool is opened and neither keystoneauth nor openstacksdk
is imported.
"""

from __future__ import annotations

import pathlib
import threading

from oslo_config import cfg

from nova_diskaudit import protocol, record
from nova_diskaudit.agent.publish import Publisher
from nova_diskaudit.agent.spool import Spool, SpoolError
from nova_diskaudit.conf import ConfigurationError
from nova_diskaudit.health import PublisherStatus, SpoolStatus

_NO_SPOOL = SpoolStatus(
    depth=0, bytes=0, oldest_as_of=None, dropped=0, thinned=0, rejected=0, in_memory=False
)


class Publishing:
    """The spool, and the one thread that empties it.

    :raises ConfigurationError: when it is switched on and cannot begin.
    """

    def __init__(self, conf: cfg.ConfigOpts, state_path: pathlib.Path) -> None:
        self._publisher: Publisher | None = None
        self._spool: Spool | None = None
        if not conf.publisher.enabled:
            return
        from nova_diskaudit.agent.transport import Transport

        transport = Transport(conf)
        try:
            self._spool = Spool(
                state_path,
                max_age_seconds=conf.publisher.spool_max_age,
                max_bytes=conf.publisher.spool_max_bytes,
            )
        except SpoolError as error:
            raise ConfigurationError(f"[agent] state_path: {error}") from error
        self._publisher = Publisher(
            self._spool, transport.send, backoff_max_seconds=conf.publisher.backoff_max
        )

    def use(self, conf: cfg.ConfigOpts) -> None:
        """Go on by a configuration that was read anew; what waits is tried at once.

        :raises ConfigurationError: and nothing is changed.
        """
        if self._publisher is None or self._spool is None:
            return
        from nova_diskaudit.agent.transport import Transport

        transport = Transport(conf)
        self._spool.limit(
            max_age_seconds=conf.publisher.spool_max_age, max_bytes=conf.publisher.spool_max_bytes
        )
        self._publisher.use(transport.send, backoff_max_seconds=conf.publisher.backoff_max)

    def append(self, report: record.HostReport, id: str) -> None:
        """A finished cycle, by an id that was minted for it. It never waits for the network."""
        if self._publisher is None or self._spool is None:
            return
        self._spool.append(protocol.state_of(report, id))
        self._publisher.wake()

    def run(self, stop: threading.Event) -> None:
        """Send, until ``stop`` is set and :meth:`wake` called."""
        if self._publisher is None:
            stop.wait()
        else:
            self._publisher.run(stop)

    def wake(self) -> None:
        """Look again whether there is something to do, or whether it is time to end."""
        if self._publisher is not None:
            self._publisher.wake()

    def status(self) -> tuple[SpoolStatus, PublisherStatus]:
        """What waits, and how sending goes."""
        if self._publisher is None or self._spool is None:
            return _NO_SPOOL, PublisherStatus(enabled=False)
        return self._spool.status(), self._publisher.status()

    def close(self) -> None:
        """Let go of the files. A request that is still under way ends with the process."""
        if self._spool is not None:
            self._spool.close()

# SPDX-License-Identifier: Apache-2.0
"""Agents without a hypervisor: the real spool, publisher and transport, with states made up."""

from __future__ import annotations

import datetime
import pathlib
import random
import uuid
from collections.abc import Mapping

from oslo_config import cfg

from nova_diskaudit import protocol
from nova_diskaudit.agent.publish import Answer, Publisher
from nova_diskaudit.agent.spool import Spool
from nova_diskaudit.agent.transport import Transport
from nova_diskaudit.conf import opts
from tests import reports

#: Requests that an agent may need to send one state: chains that have to be mended and the like.
_MOST_STEPS = 12


class Died(BaseException):
    """The agent was killed when the answer was there and it did not know it yet."""


class Agent:
    """One host's agent; it may be killed and come back, for all that it knows is in its spool."""

    def __init__(
        self, host: str, directory: pathlib.Path, options: Mapping[str, object], draw: random.Random
    ) -> None:
        """:param options: of ``[disk_audit]``."""
        self.host = host
        self._draw = draw
        self._directory = directory / host
        self._directory.mkdir(exist_ok=True)
        file = self._directory / "agent.conf"
        lines = [f"{name} = {value}" for name, value in options.items()]
        file.write_text("\n".join(["[disk_audit]", *lines, "[publisher]", "timeout = 20", ""]))
        self._conf = cfg.ConfigOpts()
        opts.register(self._conf)
        self._conf([], default_config_files=[str(file)], default_config_dirs=[])
        self._names = [f"{host}-{number}" for number in range(4)]
        #: the newest state that was committed to the spool
        self.newest: protocol.State | None = None
        self.revive()

    def revive(self) -> None:
        """Begin as after a start of the process."""
        self.transport = Transport(self._conf)
        self.spool = Spool(self._directory)
        self.publisher = Publisher(self.spool, self._send)
        self.is_doomed = False

    def die(self) -> None:
        """Lose all that is in memory, and begin again."""
        self.spool.close()
        self.revive()

    def _send(self, report: protocol.Report) -> Answer:
        answer = self.transport.send(report)
        if self.is_doomed:
            raise Died
        return answer

    def look(self) -> None:
        """A cycle ends: something came, went, or changed."""
        if self._draw.random() < 0.3:
            self._names.append(f"{self.host}-{self._draw.randrange(10**9)}")
        if len(self._names) > 1 and self._draw.random() < 0.3:
            self._names.remove(self._draw.choice(self._names))
        known = {one.uuid: one for one in self.newest.instances} if self.newest else {}
        instances = []
        for name in self._names:
            same = known.get(reports.uuid_of(name))
            quiet = same is not None and self._draw.random() < 0.5
            instances.append(same if quiet and same else reports.instance(name, draw=self._draw))
        state = reports.state(
            self.host,
            tuple(instances),
            id=str(uuid.UUID(int=self._draw.getrandbits(128), version=4)),
            as_of=datetime.datetime.now(datetime.UTC).replace(microsecond=0),
        )
        self.spool.append(state)
        self.newest = state

    def send(self) -> bool:
        """Try to empty the spool, without waiting between two tries; whether it is empty."""
        return any(self.publisher.step() is None for _ in range(_MOST_STEPS))

    def close(self) -> None:
        self.spool.close()

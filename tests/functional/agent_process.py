# SPDX-License-Identifier: Apache-2.0
"""A real ``nova-diskaudit-agent``, and what it says of itself."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import TypeVar

from nova_diskaudit.agent import reader
from nova_diskaudit.agent.reader import Shown
from nova_diskaudit.record import Instance

PROGRAM = pathlib.Path(sys.executable).with_name("nova-diskaudit-agent")
# Against a hang of the tests themselves; nothing is asserted about how long things take.
LONG = 60.0

_T = TypeVar("_T")


class Agent:
    """One agent in a directory of its own; ``options`` are sections and what stands in them."""

    def __init__(
        self, directory: pathlib.Path, uri: str, options: dict[str, dict[str, object]] | None = None
    ) -> None:
        self.state_path = directory / "state"
        self.config = directory / "nova-diskaudit.conf"
        self.log = directory / "agent.log"
        self._options: dict[str, dict[str, object]] = {
            "DEFAULT": {"host": "compute-1"},
            "hypervisor": {"connection_uri": uri},
            "agent": {"interval": 1, "state_path": self.state_path},
            "exporter": {"listen": "127.0.0.1:0"},
        }
        self.configure(options or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def socket(self) -> pathlib.Path:
        return self.state_path / reader.SOCKET_NAME

    def configure(self, options: dict[str, dict[str, object]]) -> None:
        """Write the configuration file, with these options changed."""
        for section, values in options.items():
            self._options.setdefault(section, {}).update(values)
        self.config.write_text(
            "\n".join(
                f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
                for section, values in self._options.items()
            )
        )

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "--config-file", self.config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
            )

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status; it is killed when it does not end."""
        assert self._process is not None
        self._process.send_signal(how)
        try:
            return self._process.wait(LONG)
        finally:
            self._process.kill()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def shown(self) -> Shown:
        return reader.read(self.socket)

    def instance(self, uuid: str) -> Instance | None:
        report = self.shown().report
        found = (one for one in report.instances if one.uuid == uuid) if report else iter(())
        return next(found, None)

    def await_cycle(self, number: int = 1) -> Shown:
        """What it says once this cycle is over."""

        def over() -> Shown | None:
            shown = self.shown()
            return (
                shown if shown.report is not None and shown.agent.cycle.number >= number else None
            )

        return self.wait_for(over)

    def next_cycles(self, count: int = 2) -> Shown:
        """What it says when so many more cycles are over: the last one began after now."""
        return self.await_cycle(self.shown().agent.cycle.number + count)

    def wait_for(self, condition: Callable[[], _T | None]) -> _T:
        """What ``condition`` gives when it gives something; the agent may not be there yet."""
        until = time.monotonic() + LONG
        while True:
            assert self.is_running(), self.said()
            with contextlib.suppress(reader.AgentUnreachable):
                if found := condition():
                    return found
            assert time.monotonic() < until, f"waited in vain\n{self.said()}"
            time.sleep(0.02)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def metrics(self) -> str:
        """What ``/metrics`` says; the port stands in the log, for it was the kernel's choice."""
        port = self.said().rpartition("Serving /metrics on 127.0.0.1 port ")[2].split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LONG) as answer:
            return str(answer.read().decode())


@contextlib.contextmanager
def running(
    directory: pathlib.Path, uri: str, options: dict[str, dict[str, object]] | None = None
) -> Iterator[Agent]:
    """A started agent, ended by SIGKILL at the latest."""
    agent = Agent(directory, uri, options)
    agent.start()
    try:
        yield agent
    finally:
        if agent.is_running():
            agent.end(signal.SIGKILL)

# SPDX-License-Identifier: Apache-2.0
"""What is measured: our agent, or any other tool that looks at all domains again and again.

A subject is started, gives one :class:`Cycle` after the other, and is stopped. It is chosen on
the command line of a benchmark:

``agent``
    ``nova-diskaudit-agent`` of this tree.
``command:COMMAND``
    A command that looks once and ends; each cycle is one run, and ``{uri}`` in it is the
    hypervisor's. A domain counts as fresh when its UUID or name occurs in what it prints.
``scrape:URL COMMAND``
    A service that looks when it is scraped; each cycle is one GET. Fresh as above.

Of a tool whose output carries no times nobody can say how old its guest facts are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from typing import Any, Protocol

from nova_diskaudit.agent.reader import Shown
from tests.functional import agent_process

_PATIENCE_SECONDS = 120.0
_CYCLE = re.compile(r"Cycle (\d+): ")


class SubjectError(RuntimeError):
    """The subject did not do what it is there for."""


@dataclasses.dataclass(frozen=True)
class Cycle:
    """One look at the host: the UUIDs of the domains whose facts were renewed by it.

    ``began`` is the wall clock's. ``guest`` is None when the subject does not tell.
    """

    number: int
    began: datetime.datetime
    seconds: float
    host: frozenset[str]
    guest: frozenset[str] | None


class Subject(Protocol):
    """See the module's docstring."""

    name: str

    def start(self) -> None:
        """Begin; cycles follow by themselves, or with each :meth:`cycle`."""

    def cycle(self) -> Cycle:
        """A cycle that was not given before: the newest that has ended, or the next.

        :raises SubjectError: when there is none within two minutes.
        """

    def run_for(self, seconds: float) -> None:
        """Let it look at its own pace, and look at nothing of it."""

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> float:
        """End it by a signal; the seconds that this took."""

    def abandon(self) -> None:
        """End it if it runs, by SIGKILL: a measurement was broken off."""

    @property
    def pid(self) -> int | None:
        """The root of its process tree; None when it does not run."""


class Agent:
    """Our agent, with a state directory of its own.

    ``options`` are sections of its configuration, ``{"agent": {"interval": 3}}``.
    """

    name = "nova-diskaudit-agent"

    def __init__(
        self, uri: str, directory: pathlib.Path, options: dict[str, dict[str, Any]] | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        own = {"guest": {"enabled": True}, "exporter": {"listen": ""}}
        self._agent = agent_process.Agent(directory, uri, own)
        self._agent.configure(options or {})
        self._seen = 0
        self._given = 0

    @property
    def pid(self) -> int | None:
        return self._agent.pid if self._agent.is_running() else None

    @property
    def log(self) -> pathlib.Path:
        """What it has said since it was started for the first time."""
        return self._agent.log

    def configure(self, **options: dict[str, Any]) -> None:
        """Change options; a running agent is told to read them again."""
        self._agent.configure(options)
        if self._agent.is_running():
            os.kill(self._agent.pid, signal.SIGHUP)

    def start(self) -> None:
        self._given = 0
        self._seen = self.log.stat().st_size if self.log.exists() else 0
        self._agent.start()

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> float:
        if not self._agent.is_running():
            raise SubjectError(f"the agent has ended by itself:\n{self._agent.said()[-2000:]}")
        begun = time.monotonic()
        self._agent.end(sig)
        return time.monotonic() - begun

    def abandon(self) -> None:
        if self._agent.is_running():
            self._agent.end(signal.SIGKILL)

    def forget(self) -> None:
        """Count no cycle that has ended by now."""
        self._seen = self.log.stat().st_size

    def cycles_ended(self, count: int, patience: float = _PATIENCE_SECONDS) -> int:
        """Wait for so many more cycles by the log alone, which costs the agent nothing.

        Returns the number of the last one, as the agent counts since its start.
        """
        until = time.monotonic() + patience
        with self.log.open("rb") as log:
            while True:
                log.seek(self._seen)
                for line in iter(log.readline, b""):
                    if not line.endswith(b"\n"):
                        break
                    self._seen = log.tell()
                    if found := _CYCLE.search(line.decode(errors="replace")):
                        count -= 1
                        if count == 0:
                            return int(found[1])
                if not self._agent.is_running():
                    said = self._agent.said()[-2000:]
                    raise SubjectError(f"the agent has ended by itself:\n{said}")
                if time.monotonic() > until:
                    raise SubjectError(f"no cycle for {patience:.0f} s, see {self.log}")
                time.sleep(0.02)

    def shown(self) -> Shown:
        """What the local socket says: the newest report, and the agent's own state."""
        return self._agent.shown()

    def cycle(self) -> Cycle:
        while self.cycles_ended(1) <= self._given:
            pass
        shown = self.shown()
        report, cycle = shown.report, shown.agent.cycle
        assert report is not None and cycle.started_at is not None and cycle.seconds is not None
        self._given = cycle.number
        began = cycle.started_at
        answers = [
            (one.uuid, one.guest.checked_at or one.guest.as_of)
            for one in report.instances
            if one.guest.state == "answered"
        ]
        return Cycle(
            number=cycle.number,
            began=began,
            seconds=cycle.seconds,
            host=frozenset(one.uuid for one in report.instances if one.as_of >= began),
            guest=frozenset(uuid for uuid, at in answers if at is not None and at >= began),
        )

    def run_for(self, seconds: float) -> None:
        time.sleep(seconds)


class _Asked:
    """A subject that looks when it is told to, once in ``period_seconds``."""

    def __init__(self, command: str, names: dict[str, str], period_seconds: float) -> None:
        self.name = shlex.split(command)[0]
        self._command = shlex.split(command)
        self._names = names
        self._period_seconds = period_seconds
        self._number = 0
        self._due = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        self._due = time.monotonic()

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> float:
        if self._process is None:
            return 0.0
        begun = time.monotonic()
        self._process.send_signal(sig)
        self._wait(f"did not end by {sig.name}")
        return time.monotonic() - begun

    def abandon(self) -> None:
        self.stop(signal.SIGKILL)

    def _wait(self, otherwise: str) -> None:
        assert self._process is not None
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise SubjectError(f"{otherwise}: {shlex.join(self._command)}") from None
        finally:
            self._process = None

    def cycle(self) -> Cycle:
        time.sleep(max(0.0, self._due - time.monotonic()))
        began, begun = datetime.datetime.now(datetime.UTC), time.monotonic()
        self._due = begun + self._period_seconds
        self._number += 1
        said = self._look().decode(errors="replace")
        words = set(re.findall(r"[A-Za-z0-9-]+", said))
        return Cycle(
            number=self._number,
            began=began,
            seconds=time.monotonic() - begun,
            host=frozenset(u for u, name in self._names.items() if u in words or name in words),
            guest=None,
        )

    def run_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.cycle()

    def _look(self) -> bytes:
        raise NotImplementedError


class Command(_Asked):
    """A command that looks once; see the module's docstring."""

    def _look(self) -> bytes:
        with tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(self._command, stdout=output)
            self._wait("no end of")
            output.seek(0)
            return output.read()


class Scrape(_Asked):
    """A service that looks when it is asked; see the module's docstring."""

    def __init__(
        self, url: str, command: str, names: dict[str, str], period_seconds: float
    ) -> None:
        super().__init__(command, names, period_seconds)
        self._url = url

    def start(self) -> None:
        super().start()
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        host, _, port = self._url.split("/")[2].partition(":")
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            if self._process.poll() is not None or time.monotonic() > until:
                raise SubjectError(f"does not listen: {shlex.join(self._command)}")
            time.sleep(0.1)

    def _look(self) -> bytes:
        try:
            with urllib.request.urlopen(self._url, timeout=_PATIENCE_SECONDS) as answer:
                said: bytes = answer.read()
        except OSError as error:
            raise SubjectError(f"{self._url}: {error}") from None
        return said


def make(
    choice: str,
    uri: str,
    names: dict[str, str],
    directory: pathlib.Path,
    *,
    period_seconds: int,
    options: dict[str, dict[str, Any]] | None = None,
) -> Subject:
    """The subject that was chosen; ``names`` are those of the domains by UUID.

    :param options: more of our agent's configuration.
    :raises ValueError: for a choice that is none.
    """
    kind, _, rest = choice.partition(":")
    rest = rest.replace("{uri}", uri)
    if choice == "agent":
        agent = Agent(uri, directory, options)
        agent.configure(agent={"interval": period_seconds})
        return agent
    if kind == "command" and rest:
        return Command(rest, names, period_seconds)
    if kind == "scrape" and " " in rest:
        url, _, command = rest.partition(" ")
        return Scrape(url, command, names, period_seconds)
    raise ValueError(f"neither agent, nor command:COMMAND, nor scrape:URL COMMAND: {choice!r}")

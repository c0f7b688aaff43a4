# SPDX-License-Identifier: Apache-2.0
"""A random walk through everything that can happen between agents and the service.

Agents are the real spool and the real publisher; the service is the real rule in memory; between
them lies a network that loses, delays, doubles and reorders. Agents are killed before and after
each of their commits and while a request is under way, two agents may speak for one host, and the
service is restored from older copies of itself. A request may be late without bounds, but where
two agents speak for one host not by more than the silence after which one takes over. After every
step the chain is looked at, and at the end everything is calm and has to be complete.

    python -m tests.unit.agent.chain_model --runs 20000
"""

from __future__ import annotations

import argparse
import collections
import datetime
import os
import pathlib
import random
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable

from nova_diskaudit import protocol
from nova_diskaudit.agent.publish import Answer, Publisher
from nova_diskaudit.agent.spool import Spool
from tests.contract import reports
from tests.servers.ledger import Link, problems

TAKEOVER_AFTER_SECONDS = 900.0
HOST = "compute-1"


class Killed(BaseException):
    """The process of an agent is gone. No handler of ours may catch it."""


class KillableSpool(Spool):
    """Dies before or after the commits that it is told to."""

    reserved_bytes = 0
    dies: Callable[[str], bool] = staticmethod(lambda where: False)

    def _write(self, commit: Callable[[sqlite3.Connection], None]) -> None:
        if self.dies("before a commit"):
            raise Killed
        super()._write(commit)
        if self.dies("after a commit"):
            raise Killed

    def vanish(self) -> None:
        """What the kernel does for a process that was killed."""
        if self._db is not None:
            self._db.close()
        os.close(self._lock)


class Service:
    """The rule, and copies to be restored from."""

    def __init__(self, now: Callable[[], datetime.datetime]) -> None:
        self._now = now
        self.row: protocol.Row | None = None
        self.state: protocol.State | None = None
        self.links: list[Link] = []
        self._copies: list[tuple[protocol.Row | None, protocol.State | None]] = []

    def put(self, data: bytes) -> Answer:
        report = protocol.decode_report(data, path_host=HOST)
        now = self._now()
        judgement = protocol.judge(
            self.row, report, now=now, takeover_after_seconds=TAKEOVER_AFTER_SECONDS
        )
        if isinstance(judgement, protocol.Held):
            seconds = float(judgement.retry_after_seconds)
            return Answer(status=409, code="host-held", retry_after_seconds=seconds)
        if isinstance(judgement, protocol.ChainBroken):
            return Answer(status=409, code="report-chain", current=judgement.current)
        if isinstance(judgement, protocol.Accepted):
            self._copies.append((self.row, self.state))
            self.state = protocol.apply(self.state, report)
            self.row = protocol.Row(report_id=report.id, agent=report.agent, received_at=now)
            self._record(report.id, report.replaces, report.kind, report.agent, report.as_of)
        return Answer(status=200, current=report.id)

    def restore(self, rng: random.Random) -> None:
        """An older copy comes back, and full reports are demanded."""
        if self.row is None or not self._copies:
            return
        row, self.state = rng.choice(self._copies)
        before, fresh = self.row.report_id, str(uuid.UUID(int=rng.getrandbits(128)))
        self.row = protocol.Row(
            report_id=fresh,
            agent=(row or self.row).agent,
            received_at=(row or self.row).received_at,
        )
        self._record(fresh, before, "demand", None, None)

    def _record(
        self,
        id: str,
        replaces: str | None,
        kind: str,
        agent: str | None,
        as_of: datetime.datetime | None,
    ) -> None:
        self.links.append(
            Link(
                seq=len(self.links),
                host=HOST,
                id=id,
                replaces=replaces,
                kind=kind,
                agent=agent,
                as_of=as_of,
                received_at=self._now(),
                instances=0,
            )
        )


class Agent:
    """One process after the other on one directory."""

    def __init__(self, world: World, directory: pathlib.Path) -> None:
        self._world = world
        self._directory = directory
        directory.mkdir()
        self.committed: list[str] = []
        self._start()

    def _start(self) -> None:
        self.spool = KillableSpool(self._directory, now=lambda: self._world.now)
        self.spool.dies = self._world.dies
        self.publisher = Publisher(self.spool, self._world.network, jitter=self._world.rng.random)

    def restart(self) -> None:
        self.spool.vanish()
        self._start()

    def cycle(self) -> None:
        """A finished cycle, whether or not it gets as far as the file."""
        state = self._world.mint()
        try:
            self.spool.append(state)
        except Killed:
            self.restart()
        kept = sqlite3.connect(self._directory / "agent.sqlite").execute("SELECT id FROM state")
        if (state.id,) in kept.fetchall():
            self.committed.append(state.id)

    def publish(self) -> float | None:
        try:
            return self.publisher.step()
        except Killed:
            self.restart()
            return 0.0


class World:
    """One walk, by its seed. Everything that goes wrong is an AssertionError."""

    def __init__(self, seed: int, directory: pathlib.Path) -> None:
        self.rng = random.Random(seed)
        self.now = reports.NOON
        self.happened: collections.Counter[str] = collections.Counter()
        self.minted: dict[str, protocol.State] = {}
        self._late: list[tuple[datetime.datetime, bytes]] = []
        self.service = Service(lambda: self.now)
        # How bad the network is differs from walk to walk and from phase to phase.
        self._badness = 0.0
        self._deadliness = self.rng.choice([0.0, 0.02, 0.1])
        self._calm = False
        self.agents = [
            Agent(self, directory / str(number)) for number in range(self.rng.choice([1, 1, 2]))
        ]

    # --- what the agents are given -------------------------------------------------------------

    def dies(self, where: str) -> bool:
        if self._calm or self.rng.random() >= self._deadliness:
            return False
        self.happened[f"killed {where}"] += 1
        return True

    def mint(self) -> protocol.State:
        """A state that differs from the others in some instances, and misses some."""
        id = str(uuid.UUID(int=self.rng.getrandbits(128)))
        marks = {number: self.rng.choice("abc") for number in range(4) if self.rng.random() < 0.7}
        self.minted[id] = reports.state(marks, host=HOST, as_of=self.now, id=id)
        return self.minted[id]

    def network(self, report: protocol.Report) -> Answer:
        """One request, and what becomes of it."""
        data = protocol.encode(report)
        self.happened[f"a {report.kind} report"] += 1
        if self.dies("before a request"):
            raise Killed
        fate = "arrives"
        if not self._calm and self.rng.random() < self._badness:
            fates = ("lost", "late", "answer lost", "doubled", "refused for now", "poisoned")
            fate = self.rng.choices(fates, weights=(4, 4, 4, 4, 3, 1))[0]
        self.happened[f"request {fate}"] += 1
        if fate == "lost":
            return Answer(status=None)
        if fate == "refused for now":
            return Answer(status=self.rng.choice([401, 403, 404, 408, 429, 500, 503]))
        if fate == "poisoned":
            return Answer(status=self.rng.choice([400, 413, 415, 422]))
        if fate == "late":
            self._late.append((self.now, data))
            return Answer(status=None)
        answer = self.service.put(data)
        self.happened[f"answered {answer.status} {answer.code or ''}"] += 1
        if fate == "doubled":
            self._late.append((self.now, data))
        if self.dies("before an answer"):
            raise Killed
        return Answer(status=None) if fate == "answer lost" else answer

    # --- the walk -------------------------------------------------------------------------------

    def walk(self, steps: int) -> None:
        for _ in range(steps):
            self._step()
            self._look()
        self._calm_down()

    def _step(self) -> None:
        agent = self.rng.choice(self.agents)
        what = self.rng.choices(
            ("cycle", "publish", "late", "restart", "wait", "network", "restore"),
            weights=(12, 10, 4, 1, 2, 2, 0.5),
        )[0]
        self.happened[what] += 1
        if what == "cycle":
            self.now += datetime.timedelta(seconds=self.rng.choice([60, 300, 300, 1200]))
            agent.cycle()
        elif what == "publish":
            agent.publish()
        elif what == "late" and self._late:
            self._arrives_late(self._late.pop(self.rng.randrange(len(self._late))))
        elif what == "restart":
            agent.restart()
        elif what == "wait":
            self.now += datetime.timedelta(seconds=self.rng.choice([1, 600, 1000, 20000]))
        elif what == "network":
            self._badness = self.rng.choice([0.0, 0.2, 0.6, 1.0])
        elif what == "restore":
            self.service.restore(self.rng)

    def _arrives_late(self, sent: tuple[datetime.datetime, bytes]) -> None:
        at, data = sent
        bound = datetime.timedelta(seconds=TAKEOVER_AFTER_SECONDS)
        if len(self.agents) > 1 and self.now - at >= bound:
            self.happened["late one given up"] += 1
            return
        answer = self.service.put(data)
        self.happened[f"late one answered {answer.status} {answer.code or ''}"] += 1

    def _look(self) -> None:
        """After every step: the chain is linear, and the service has one whole state."""
        wrong = problems(self.service.links)
        assert not wrong, wrong
        links = self.service.links
        if links and links[-1].agent is not None:
            assert self.service.state == self.minted[links[-1].id]
        for agent in self.agents:
            status = agent.spool.status()
            assert status.dropped == 0 and not status.in_memory and status.problem is None

    def _calm_down(self) -> None:
        """The network is well and nobody dies: everything arrives, the agents one by one."""
        self._calm = True
        for sent in self.rng.sample(self._late, len(self._late)):
            self._arrives_late(sent)
        for agent in self.agents:
            agent.restart()
            self.now += datetime.timedelta(seconds=TAKEOVER_AFTER_SECONDS + 1)
            agent.cycle()
            for _ in range(500):
                if agent.publish() is None:
                    break
            else:
                raise AssertionError("the spool does not become empty")
            self._look()
            self._is_complete(agent)

    def _is_complete(self, agent: Agent) -> None:
        accepted = {link.id for link in self.service.links}
        status = agent.spool.status()
        assert status.depth == 0
        missing = [id for id in agent.committed if id not in accepted]
        # What was thinned may have been accepted without the agent's knowledge.
        assert len(missing) <= status.thinned + status.rejected, missing
        if status.thinned + status.rejected == 0:
            assert not missing
        assert self.service.state == self.minted[agent.committed[-1]]
        self.happened["states thinned"] += status.thinned
        self.happened["states rejected"] += status.rejected


def run(runs: int, first_seed: int = 0, steps: int = 60) -> collections.Counter[str]:
    """So many walks; what happened in them, counted.

    :raises AssertionError: with the seed of the walk that went wrong.
    """
    happened: collections.Counter[str] = collections.Counter()
    memory = pathlib.Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    for seed in range(first_seed, first_seed + runs):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="nova-diskaudit-model-", dir=place))
        try:
            world = World(seed, directory)
            try:
                world.walk(steps)
            except Exception as error:
                raise AssertionError(f"walk {seed}: {error!r}") from error
            finally:
                for agent in world.agents:
                    agent.spool.close()
            happened += world.happened
        finally:
            shutil.rmtree(directory)
    return happened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=60)
    wanted = parser.parse_args()
    for what, times in sorted(run(wanted.runs, wanted.first_seed, wanted.steps).items()):
        print(f"{times:9d}  {what}")


if __name__ == "__main__":
    main()

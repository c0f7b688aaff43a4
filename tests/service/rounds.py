# SPDX-License-Identifier: Apache-2.0
"""Rounds of real agents against the real service while something goes wrong, at random moments.

Each round every agent has a new state or two, and sends while one fault happens. Then all is well
again, the agents send what they still have, and the tables must hold for each host exactly what
its agent saw last: nothing lost, nothing doubled, no half of a report, and no report refused.

    python -m tests.service.rounds --database mariadb --rounds 200 --seed 7
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import logging
import os
import pathlib
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import schema
from tests.service.agents import Agent, Died
from tests.services.api import Api
from tests.services.mariadb import Mariadb
from tests.services.postgresql import Postgresql
from tests.services.sqlite import Sqlite
from tests.unit.store import look

Server = Sqlite | Postgresql | Mariadb
SERVERS: dict[str, type[Server]] = {kind.NAME: kind for kind in (Sqlite, Postgresql, Mariadb)}
AGENTS = 6
#: Of the database, to be filled up.
DISK_MIB = 256


class Rounds:
    """One service on one database, and its agents."""

    def __init__(self, server: Server, name: str, seed: int, directory: pathlib.Path) -> None:
        self._server = server
        self._database = name
        self._draw = random.Random(seed)
        self._url = server.create_database(name)
        self._engine = store_engine.create(self._url)
        schema.sync(self._engine)
        self._api = Api({"api": {"auth_strategy": "noauth"}, "database": {"connection": self._url}})
        self._api.start()
        options = {"auth_type": "none", "endpoint_override": self._api.url}
        self.agents = [
            Agent(f"compute-{number}", directory, options, random.Random(seed * 1000 + number))
            for number in range(AGENTS)
        ]
        self.happened: collections.Counter[str] = collections.Counter()
        self._faults: dict[str, Callable[[], None]] = {
            "nothing": lambda: None,
            "a worker is killed": self._kill_a_worker,
            "the service is killed": self._kill_the_service,
            "the database is read-only": self._read_only,
            "the disk is full": self._fill_the_disk,
            "agents are killed": self._kill_agents,
        }
        if not isinstance(server, Sqlite):
            self._faults |= {
                "the database is killed": self._kill_the_database,
                "the database restarts": self._restart_the_database,
                "connections are lost": self._disconnect,
            }

    def close(self) -> None:
        for agent in self.agents:
            agent.close()
        self._api.stop()
        self._engine.dispose()
        self._server.drop_database(self._database)

    def play(self) -> None:
        """One round.

        :raises AssertionError: when anything was lost, doubled, refused or left half.
        """
        fault = self._draw.choice(list(self._faults))
        threads = [threading.Thread(target=self._work, args=(one,)) for one in self.agents]
        for one in threads:
            one.start()
        time.sleep(self._draw.random() * 0.2)
        self._faults[fault]()
        self.happened[fault] += 1
        for one in threads:
            one.join()
        for agent in self.agents:
            agent.is_doomed = False
        self._settle(fault)

    def _work(self, agent: Agent) -> None:
        try:
            for _ in range(2):
                agent.look()
                agent.send()
        except Died:
            agent.die()

    def _settle(self, fault: str) -> None:
        deadline = time.monotonic() + 60
        waiting = set(self.agents)
        while waiting:
            waiting = {one for one in waiting if not one.send()}
            assert time.monotonic() < deadline, (fault, [one.publisher.status() for one in waiting])
        for agent in self.agents:
            spool = agent.spool.status()
            assert (spool.rejected, spool.dropped) == (0, 0), (fault, spool)
            assert agent.newest is not None
            assert look.state(self._engine, agent.host) == agent.newest, (fault, agent.host)
            acked = agent.spool.acked()
            assert acked == agent.newest, (fault, agent.host)

    # --- faults: each leaves all well -------------------------------------------------------------

    def _kill_a_worker(self) -> None:
        workers = self._api.workers()[1:]
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._draw.choice(workers), signal.SIGKILL)

    def _kill_the_service(self) -> None:
        self._api.kill()
        self._api.resume()

    def _kill_agents(self) -> None:
        for agent in self._draw.sample(self.agents, 3):
            agent.is_doomed = True

    def _kill_the_database(self) -> None:
        assert not isinstance(self._server, Sqlite)
        self._server.kill()
        time.sleep(self._draw.random() * 0.3)
        self._server.resume()

    def _restart_the_database(self) -> None:
        assert not isinstance(self._server, Sqlite)
        self._server.terminate()
        self._server.resume()

    def _disconnect(self) -> None:
        assert not isinstance(self._server, Sqlite)
        self._server.disconnect_all(self._database)

    def _fill_the_disk(self) -> None:
        self._server.fill_disk()
        time.sleep(0.3)
        self._server.free_disk()
        if not isinstance(self._server, Sqlite) and not self._server.is_ready():
            # It gave up, as PostgreSQL does when its log cannot grow; its supervisor starts it.
            self._server.kill()
            self._server.resume()

    def _read_only(self) -> None:
        self._server.set_read_only(True)
        time.sleep(0.2)
        self._server.set_read_only(False)


@contextlib.contextmanager
def stage(server: Server, name: str, seed: int) -> Iterator[Rounds]:
    """A service and its agents, for as long as it takes."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="nova-diskaudit-") as directory:
        rounds = Rounds(server, name, seed, pathlib.Path(directory))
        try:
            yield rounds
        finally:
            rounds.close()


def main() -> None:
    """Play many rounds, and say what happened."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--database", choices=SERVERS, default="postgresql")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    begun = time.monotonic()
    logging.getLogger("nova_diskaudit").setLevel(logging.ERROR)
    print(f"seed {arguments.seed}")
    with (
        SERVERS[arguments.database](disk_mib=DISK_MIB) as server,
        stage(server, "rounds", arguments.seed) as rounds,
    ):
        for _ in range(arguments.rounds):
            rounds.play()
        sent = sum(one.publisher.status().sent for one in rounds.agents)
    for fault, count in sorted(rounds.happened.items()):
        print(f"{count:5} rounds: {fault}")
    print(
        f"{AGENTS} agents, {sent} requests since they last began, {time.monotonic() - begun:.0f} s"
    )
    print("nothing lost, nothing doubled")


if __name__ == "__main__":
    main()

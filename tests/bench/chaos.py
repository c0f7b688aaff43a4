# SPDX-License-Identifier: Apache-2.0
"""kill -9 of everything at random moments, and what the central service holds afterwards.

    python -m tests.bench.chaos                 # 200 rounds
    python -m tests.bench.chaos --rounds 20 --seed 7 --check

A small crowd, in the first half with QEMUs stopped and agents hung, is watched by our agent, which
reports to the recording server. In each round blocks are written, one or two of these are killed at
a random moment, and come back after a while: the agent, one of its lanes, libvirtd (the QEMUs live
on), the receiving server. A server stays away for up to twelve cycles of the agent. At the end all
are well again, and the server must get to know the newest state.

What is written only ever grows: the blocks that the host holds for a disk, and the bytes that a
guest uses. So a report that shows less than an earlier one, or an older time, is a stale value
that has overwritten a fresher one. A trigger in the server's database keeps every state that it
ever held.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import libvirt
import msgspec

from nova_diskaudit import protocol, record
from nova_diskaudit.agent.reader import AgentUnreachable
from nova_diskaudit.lane.operations import KINDS
from tests.bench.crowd import Crowd, Size, crowd
from tests.bench.figures import Figure, broken, table
from tests.bench.processes import command_name, tree
from tests.bench.subject import Agent, SubjectError
from tests.bench.workers import Watch
from tests.lab.hypervisor import STACKS, Hypervisor
from tests.servers import ledger

SIZE = Size(domains=12, stopped=2, hung=3, healthy=2)

#: states that the spool keeps whole, see rule R7
_OUTAGE_CYCLES = 12
_INTERVAL_SECONDS = 2
_PATIENCE_SECONDS = 180.0
# The nursery takes all the others along.
_LANES = tuple(f"lane-{kind}" for kind in (*KINDS, "nursery"))
_VICTIMS = ("agent", "lane", "libvirtd", "server")
_CYCLE = re.compile(r"Cycle \d+: ")


@dataclasses.dataclass
class Tally:
    """What was done, and what the agent said of itself meanwhile."""

    killed: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(_VICTIMS, 0))
    written: int = 0
    longest_outage_seconds: float = 0.0
    dropped: int = 0
    thinned: int = 0
    rejected: int = 0
    deepest: int = 0


class Server:
    """The recording server as a process, on one port and one file through all its deaths."""

    def __init__(self, database: pathlib.Path) -> None:
        self.database = database
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        ledger.Ledger(database).close()
        with contextlib.closing(sqlite3.connect(database)) as db, db:
            db.execute("CREATE TABLE held (seq INTEGER PRIMARY KEY, state BLOB)")
            db.execute(
                "CREATE TRIGGER hold AFTER INSERT ON host BEGIN"
                " INSERT INTO held (state) VALUES (NEW.state); END"
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.servers.recording"),
                *("--database", str(self.database), "--port", str(self._port)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline())
        self._port = int(said["url"].rpartition(":")[2])

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()
        self._process = None

    def links(self) -> list[ledger.Link]:
        with contextlib.closing(ledger.Ledger(self.database)) as book:
            return book.links()

    def states(self) -> Iterator[record.HostReport]:
        """Every state that it ever held, in order, with its times resolved."""
        with contextlib.closing(sqlite3.connect(self.database)) as db:
            for (state,) in db.execute("SELECT state FROM held ORDER BY seq"):
                yield protocol.resolved(msgspec.json.decode(state, type=protocol.State))

    def newest(self) -> record.HostReport | None:
        with contextlib.closing(sqlite3.connect(self.database)) as db:
            row = db.execute("SELECT state FROM held ORDER BY seq DESC LIMIT 1").fetchone()
        if row is None:
            return None
        return protocol.resolved(msgspec.json.decode(row[0], type=protocol.State))


class Chaos:
    """The rounds; everything runs before and afterwards."""

    def __init__(self, host: Crowd, agent: Agent, server: Server, seed: int) -> None:
        self._host = host
        self._agent = agent
        self._server = server
        self._chance = random.Random(seed)
        self._lanes = 0
        self._comes_back: threading.Timer | None = None
        self.tally = Tally()

    def rounds(self, count: int) -> None:
        for number in range(count):
            self._write()
            time.sleep(self._chance.uniform(0, 1.5 * _INTERVAL_SECONDS))
            victims = self._chance.sample(_VICTIMS, self._chance.choice((1, 1, 2)))
            for victim in victims:
                getattr(self, f"_kill_{victim}")()
                self.tally.killed[victim] += 1
                if self._chance.random() < 0.5:
                    self._write()
            self._look()
            print(f"\r{number + 1} {'+'.join(victims):24}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        if self._comes_back is not None:
            self._comes_back.join()

    def outage(self) -> None:
        """The server is away for as many cycles as the spool keeps whole.

        It is started one cycle earlier, since that takes a while, and since the publisher waits
        for up to a second before it tries again.
        """
        self._settle()
        self._server.kill()
        self.tally.killed["server"] += 1
        begun = time.monotonic()
        until = begun + _PATIENCE_SECONDS
        while (depth := self._agent.shown().agent.spool.depth) < _OUTAGE_CYCLES - 1:
            assert time.monotonic() < until, f"only {depth} states wait"
            time.sleep(0.05)
        self._look()
        self._server.start()
        took = time.monotonic() - begun
        self.tally.longest_outage_seconds = max(self.tally.longest_outage_seconds, took)
        self._settle()
        self._look()

    def _settle(self) -> None:
        """Until nothing waits."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with contextlib.suppress(AgentUnreachable):
                if self._agent.shown().agent.spool.depth == 0:
                    return
            assert time.monotonic() < until, "the spool is not emptied"
            time.sleep(0.1)

    def _write(self) -> None:
        """A block on a disk of a paused domain, or a file in a guest."""
        self.tally.written += 1
        if self._chance.random() < 0.3:
            machine = self._chance.choice(self._host.healthy)
            machine.run("dd if=/dev/zero bs=64k count=1 2> /dev/null >> /mnt/data/grows; sync")
        else:
            domain = self._chance.choice(self._host.paused)
            self._host.write(domain, block=self.tally.written)

    def _look(self) -> None:
        """What the agent says of its spool; it may be starting."""
        with contextlib.suppress(AgentUnreachable):
            spool = self._agent.shown().agent.spool
            self.tally.dropped = max(self.tally.dropped, spool.dropped)
            self.tally.thinned = max(self.tally.thinned, spool.thinned)
            self.tally.rejected = max(self.tally.rejected, spool.rejected)
            self.tally.deepest = max(self.tally.deepest, spool.depth)

    def _kill_agent(self) -> None:
        self._agent.stop(signal.SIGKILL)
        time.sleep(self._chance.uniform(0, 0.5))
        self._agent.start()

    def _kill_lane(self) -> None:
        """The kinds in turn, and what they are forked from; as soon as the agent has one."""
        name = _LANES[self._lanes % len(_LANES)]
        self._lanes += 1
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            if self._agent.pid is None:
                raise SubjectError("the agent has ended by itself")
            found = sorted(pid for pid in tree(self._agent.pid) if command_name(pid) == name)
            if found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._chance.choice(found), signal.SIGKILL)
                    return
            assert time.monotonic() < until, f"the agent has no {name}"
            time.sleep(0.05)

    def _kill_libvirtd(self) -> None:
        self._host.hypervisor.kill_daemon()
        time.sleep(self._chance.uniform(0, 1.5))
        self._host.hypervisor.start_daemon()

    def _kill_server(self) -> None:
        """For less than the spool keeps whole, and never before what waited has arrived."""
        if self._comes_back is not None:
            self._comes_back.join()
        self._settle()
        self._server.kill()
        away_since = time.monotonic()

        def come_back() -> None:
            self._server.start()
            away = time.monotonic() - away_since
            self.tally.longest_outage_seconds = max(self.tally.longest_outage_seconds, away)

        longest = (_OUTAGE_CYCLES - 3) * _INTERVAL_SECONDS
        self._comes_back = threading.Timer(self._chance.uniform(0, longest), come_back)
        self._comes_back.start()


def measure(
    host: Crowd, directory: pathlib.Path, *, rounds: int, outages: int, seed: int
) -> list[Figure]:
    """Rows about so many rounds, and outages of twelve cycles behind them."""
    server = Server(directory / "chain.sqlite")
    server.start()
    agent = Agent(
        host.hypervisor.uri,
        directory,
        {
            "agent": {"interval": _INTERVAL_SECONDS, "full_cycles": 4, "backoff_min": 10},
            "publisher": {"enabled": True, "backoff_max": 1},
            "disk_audit": {"auth_type": "none", "endpoint_override": server.url},
        },
    )
    begun = time.monotonic()
    with Watch(host.hypervisor.admin_uri) as watch:
        agent.start()
        agent.cycles_ended(1)
        chaos = Chaos(host, agent, server, seed)
        host.stop_hypervisors()
        host.hang()
        chaos.rounds(rounds // 2)
        for machine in host.guests:
            machine.reconnect()
        host.continue_hypervisors()
        host.recover()
        # Without agents that hang, more cycles come to their end between two kills.
        chaos.rounds(rounds - rounds // 2)
        for _ in range(outages):
            chaos.outage()
        arrived = _newest_arrives(host, server)
        chaos._settle()
        chaos._look()
        agent.stop()
        held = watch.held()
    server.kill()
    return _figures(host, server, agent, chaos.tally, arrived, held, rounds, begun)


def _newest_arrives(host: Crowd, server: Server) -> list[str]:
    """Wait for the newest state at the server; what is still missing when patience ends."""
    truth = {machine.spec.uuid: machine.truth()["/mnt/data"].used_bytes for machine in host.healthy}
    until = time.monotonic() + _PATIENCE_SECONDS
    while missing := _missing(host, truth, server.newest()):
        if time.monotonic() > until:
            break
        time.sleep(0.5)
    return missing


def _missing(host: Crowd, used: dict[str, int], newest: record.HostReport | None) -> list[str]:
    shown = {one.uuid: one for one in newest.instances} if newest is not None else {}
    missing = []
    for domain in host.domains:
        one = shown.get(domain.uuid)
        if one is None:
            missing.append(f"{domain.name} is not there")
            continue
        held = {disk.target: disk.host_allocated_bytes for disk in one.disks}
        if held["vdb"] != (true := host.held_bytes(domain)):
            missing.append(f"{domain.name}/vdb holds {true}, reported {held['vdb']}")
        if domain.uuid in used:
            said = {disk.target: disk.guest_used_bytes for disk in one.disks}["vdb"]
            if said != used[domain.uuid]:
                missing.append(f"{domain.name}/vdb uses {used[domain.uuid]}, reported {said}")
    return missing


def went_back(states: Iterator[record.HostReport], names: dict[str, str]) -> list[str]:
    """Where a state shows something older than one before it."""
    found: list[str] = []
    known: dict[tuple[str, str], object] = {}

    def never_less(uuid: str, what: str, value: object) -> None:
        before = known.get((uuid, what))
        if value is None:
            return  # unknown for now is said, and overwrites nothing that is known later
        if before is not None and value < before:  # type: ignore[operator]
            found.append(f"{names.get(uuid, uuid)}: {what} {value} after {before}")
        known[uuid, what] = value

    for state in states:
        never_less("", "as_of of the report", state.as_of)
        for one in state.instances:
            never_less(one.uuid, "as_of", one.as_of)
            never_less(one.uuid, "as_of of the guest", one.guest.as_of)
            for disk in one.disks:
                never_less(one.uuid, f"{disk.target} held", disk.host_allocated_bytes)
                never_less(one.uuid, f"{disk.target} used", disk.guest_used_bytes)
    return found


def _figures(
    host: Crowd,
    server: Server,
    agent: Agent,
    tally: Tally,
    arrived: list[str],
    held: int,
    rounds: int,
    begun: float,
) -> list[Figure]:
    links = server.links()
    wrong = ledger.problems(links)
    back = went_back(server.states(), host.names)
    log = agent.log.read_text(errors="replace")
    finished = len(_CYCLE.findall(log))
    lost = tally.dropped + tally.thinned + tally.rejected
    kills = ", ".join(f"{name} {count}" for name, count in tally.killed.items())
    # A state is committed before its cycle is told in the log, so none may be missing.
    missing = max(0, finished - len({link.id for link in links}))
    return [
        Figure(
            f"{rounds} rounds in {time.monotonic() - begun:.0f} s, {tally.written} writes; "
            "kill -9 of",
            kills,
        ),
        Figure(f"chain at the server, {len(links)} reports: breaks", _some(wrong), "0", not wrong),
        Figure("the newest state at the end: what is missing", _some(arrived), "0", not arrived),
        Figure(
            f"finished cycles ({finished}) that the server never got",
            str(missing),
            "0",
            not missing,
        ),
        Figure(
            "states dropped, thinned or refused (longest outage "
            f"{tally.longest_outage_seconds:.0f} s, spool at most {tally.deepest} deep)",
            str(lost),
            "0",
            lost == 0,
        ),
        Figure("stale values that overwrote fresher ones", _some(back), "0", not back),
        Figure(
            "tracebacks in the agent's log",
            str(log.count("Traceback (most recent call last)")),
            "0",
            "Traceback (most recent call last)" not in log,
        ),
        Figure("workers of libvirtd held for a second", str(held), "at most 3", held <= 3),
    ]


def _some(found: list[str]) -> str:
    return f"{len(found)}: {'; '.join(found[:3])}" if found else "0"


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--rounds", type=int, default=200)
    add("--outages", type=int, default=3, help="of twelve cycles, behind the rounds")
    add("--seed", type=int, default=int(time.time()), help="the moments and the victims")
    add("--stack", choices=STACKS, default="host", help="whose libvirt and QEMU")
    add("--check", action="store_true", help="exit 1 when a bound is broken")
    add("--keep", metavar="DIR", help="leave log, spool and chain there")
    arguments = parser.parse_args()
    libvirt.registerErrorHandler(lambda context, error: None, None)
    print(f"seed {arguments.seed}", file=sys.stderr, flush=True)
    with contextlib.ExitStack() as stack:
        directory = arguments.keep or stack.enter_context(
            tempfile.TemporaryDirectory(prefix="chaos-", dir="/var/tmp")
        )
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        hypervisor = stack.enter_context(Hypervisor(arguments.stack))
        host = stack.enter_context(crowd(hypervisor, SIZE))
        figures = measure(
            host,
            pathlib.Path(directory),
            rounds=arguments.rounds,
            outages=arguments.outages,
            seed=arguments.seed,
        )
        versions = hypervisor.versions
    print(
        f"{SIZE.domains} domains, {os.cpu_count()} cores, libvirt {versions['libvirt']}, "
        f"QEMU {versions['qemu']}, Python {platform.python_version()}, seed {arguments.seed}\n\n"
        f"{table(figures)}"
    )
    return 1 if arguments.check and broken(figures) else 0


if __name__ == "__main__":
    sys.exit(main())

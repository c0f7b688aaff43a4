# SPDX-License-Identifier: Apache-2.0
"""The hang table: what each peer still tells of the healthy domains when others hang.

One crowd of real QEMUs (:mod:`tests.bench.crowd`), some of them with booted guests. At each point
a share of the QEMUs is stopped by ``SIGSTOP`` and as many guests' agents hang. Every peer gets
ready while no QEMU is stopped; then they are stopped, and the peer looks again and again: at least
twice and for some seconds, and a look is given up when patience ends (a third of it for the looks
after that). Then its processes are killed and the QEMUs go on. Should libvirtd still have a busy
worker after that, it is killed and started anew, so that the next peer meets a clean one; agents
that hang stay as they are for all peers of a point.

Our row is the agent: real, as a service, made to ask everybody in every cycle, for what is not
asked cannot hang.

healthy
    neither its QEMU is stopped nor its agent hangs
reported
    healthy domains of which a look told after the QEMUs were stopped, in the look that told least;
    what was printed before it was given up counts. For the agent: facts that are newer than the
    begin of the cycle
late
    seconds of the slowest look; ours: of the slowest cycle
workers held
    by calls that hang, see :mod:`tests.bench.workers`
virsh start
    seconds of ``virsh start`` of a domain without disks, 1 s after the first look began and once
    more when the last one is over; the slower one
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import datetime
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import libvirt

from tests.bench.crowd import Crowd, crowd
from tests.bench.crowd import Size as CrowdSize
from tests.bench.peers import page
from tests.bench.peers.bare_stat import Stat
from tests.bench.peers.bulk import Bulk
from tests.bench.peers.ceilometer import Ceilometer
from tests.bench.peers.collectd import Collectd
from tests.bench.peers.domblkinfo import Domblkinfo
from tests.bench.peers.exporter import Exporter
from tests.bench.peers.guestinfo import Guestinfo
from tests.bench.peers.host import halting_rom
from tests.bench.peers.ours import Audit
from tests.bench.peers.peer import Look, Peer, PeerError, Scene
from tests.bench.peers.result import Options, about, conditions
from tests.bench.subject import Agent, Cycle, SubjectError
from tests.bench.workers import PERIOD_SECONDS, WINDOW_SECONDS, Watch
from tests.lab.domain import Domain
from tests.lab.hypervisor import Hypervisor

NAME = "hangs"
#: domains; with fewer it is the smoke size
SMALLEST = 20
AGENT = "nova-diskaudit-agent"
MOST_HELD = 3

_NEWCOMER = Domain("newcomer", (), agent_channel=False, nova=False, paused=True)
_SETTLE_SECONDS = 3.0
# Between looks, so that short calls do not look like one that lasts.
_PAUSE_SECONDS = 0.5
# libvirtd's own default of max_workers, and how a script finds its end.
_ALL_WORKERS = 20
_MOST_LOOKS = 30
_LOOK = 1.0
# Who did not end once is waited for less long: what another look holds shows soon.
_SHORTER = 3.0
_INTERVAL_SECONDS = 3


@dataclasses.dataclass(frozen=True)
class Size:
    """``percents`` of ``domains`` are the numbers of stopped QEMUs and of hung agents.

    ``looks``: at least so many, and for at least ``seconds``.
    """

    domains: int = 100
    percents: tuple[float, ...] = (0, 1, 5, 10)
    healthy_guests: int = 2
    patience: float = 12.0
    looks: int = 2
    seconds: float = 4.0

    def count(self, percent: float) -> int:
        return round(self.domains * percent / 100)


SMOKE = Size(domains=8, percents=(12.5,), healthy_guests=1, patience=3.0, looks=1, seconds=1.0)


@dataclasses.dataclass
class Row:
    """What was seen of one peer at one point; ``late`` is None when no look came to an end.

    Of ``guests`` (None: it asks none) and ``domains`` (None: it tells nothing of hosts' bytes) the
    first number is what the worst look told.
    """

    name: str
    version: str = ""
    absent: str = ""
    domains: tuple[int, int] | None = None
    guests: tuple[int, int] | None = None
    looks: int = 0
    given_up: int = 0
    late: float | None = None
    held: int | None = None
    starts: list[float | None] = dataclasses.field(default_factory=list)
    start_failed: str = ""
    trouble: str = ""
    daemon_restarted: bool = False


class _Stage:
    """The crowd, and what of it hangs at a point."""

    def __init__(self, host: Crowd, watch: Watch, size: Size) -> None:
        self.host = host
        self.watch = watch
        self.size = size
        self.stopped = 0
        self.hung = 0
        # Who asks one after the other tells of those before the first that hangs.
        domains = random.Random(1).sample(host.domains, len(host.domains))
        images = {
            (domain.name, disk.target): disk.path(domain.name, host.hypervisor.workdir)
            for domain in domains
            for disk in domain.disks
        }
        uuids = {name: uuid for uuid, name in host.names.items()}
        self.scene = Scene(host.hypervisor, images, uuids)
        self._part = host

    @contextlib.contextmanager
    def point(self, stopped: int, hung: int) -> Iterator[None]:
        """So many agents hang for the length of the block."""
        self.stopped, self.hung = stopped, hung
        guests = self.host.guests[: self.host.size.healthy + 1 + hung]
        size = dataclasses.replace(self.host.size, stopped=stopped, hung=hung)
        self._part = Crowd(self.host.hypervisor, size, self.host.paused, guests)
        self._part.hang()
        try:
            yield
        finally:
            self._part.recover()

    def healthy(self) -> tuple[set[str], set[str]]:
        """Names of domains that nothing excuses, and of those the ones whose agent is well."""
        stopped = {domain.name for domain in self._part.stopped} if self.stopped else set()
        hung = {machine.spec.name for machine in self._part.hung}
        guests = {machine.spec.name for machine in self.host.guests}
        domains = set(self.host.names.values()) - stopped - hung
        return domains, domains & guests

    @contextlib.contextmanager
    def qemus_stopped(self) -> Iterator[None]:
        if self.stopped:
            self._part.stop_hypervisors()
        try:
            yield
        finally:
            if self.stopped:
                self._part.continue_hypervisors()

    def clean_up(self) -> bool:
        """Leave nothing of a peer in libvirtd; whether it had to be started anew for that."""
        restarted = False
        until = time.monotonic() + _SETTLE_SECONDS
        while not restarted and busy_workers(self.host.hypervisor):
            if time.monotonic() > until:
                self.host.restart_daemon()
                restarted = True
            time.sleep(0.1)
        connection = libvirt.open(self.host.hypervisor.uri)
        try:
            newcomer = connection.lookupByName(_NEWCOMER.name)
            if newcomer.isActive():  # its start was given up
                newcomer.destroy()
        finally:
            connection.close()
        return restarted


def busy_workers(hypervisor: Hypervisor) -> int:
    """libvirtd's workers that serve a call now, asked in a process of its own."""
    command = [sys.executable, "-c", _BUSY, hypervisor.admin_uri]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return int(done.stdout)


# That library and libvirt-python do not bear each other in one process.
_BUSY = "import sys; from tests.bench.workers import Admin; print(Admin(sys.argv[1]).busy())"


@dataclasses.dataclass
class _Newcomers:
    """Seconds of each ``virsh start``, and from when to when it went.

    None when it was given up, or failed: ``failed`` says why.
    """

    uri: str
    patience: float
    seconds: list[float | None] = dataclasses.field(default_factory=list)
    spans: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    failed: str = ""

    def start_one(self) -> None:
        if None in self.seconds:
            return
        begun = time.monotonic()
        try:
            self._virsh("start", "--paused", _NEWCOMER.name)
            self.seconds.append(time.monotonic() - begun)
            self._virsh("destroy", _NEWCOMER.name)
        except subprocess.TimeoutExpired:
            self.seconds.append(None)
        except subprocess.CalledProcessError as error:
            self.seconds.append(None)
            self.failed = f"virsh {error.cmd[4]}: {error.stderr.decode(errors='replace').strip()}"
        self.spans.append((begun, time.monotonic()))

    def _virsh(self, *command: str) -> None:
        subprocess.run(
            ["virsh", "--quiet", "--connect", self.uri, *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=self.patience,
            check=True,
        )


@contextlib.contextmanager
def _watched(stage: _Stage, row: Row) -> Iterator[None]:
    """Beside the block: ``virsh start`` in its first second and at its end; workers held.

    The workers that serve those starts are none that a peer holds, so that time is left out.
    """
    newcomers = _Newcomers(stage.host.hypervisor.uri, stage.size.patience)
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        def first() -> None:
            time.sleep(1)
            newcomers.start_one()

        beside = pool.submit(first)
        yield
        beside.result()
    newcomers.start_one()
    row.starts = newcomers.seconds
    row.start_failed = newcomers.failed
    # What still hangs is seen without any start beside it.
    time.sleep(WINDOW_SECONDS + 2 * PERIOD_SECONDS)
    row.held = stage.watch.held(begun, time.monotonic(), newcomers.spans)


def told_of(peer: Peer, look: Look, stage: _Stage) -> tuple[set[str], set[str]]:
    """Names of the domains of whose host's and guest's bytes a look told."""
    answers = peer.read(look.said)
    wanted = set(peer.held) or (set() if peer.used else None)
    host: dict[str, bool] = {}
    guest: set[str] = set()
    for domain, target in stage.scene.disks:
        fields = answers.get((domain, target), {}).keys()
        known = bool(fields) if wanted is None else bool(fields & wanted)
        host[domain] = host.get(domain, True) and known
        if fields & set(peer.used):
            guest.add(domain)
    return {domain for domain, known in host.items() if known}, guest


def _peer_row(peer: Peer, stage: _Stage, directory: pathlib.Path) -> Row:
    row = Row(peer.name)
    try:
        row.version = peer.version()
        peer.start(stage.scene, directory)
    except PeerError as error:
        peer.stop()
        row.absent = str(error)
        return row
    looks: list[Look] = []
    patient = 0
    with contextlib.ExitStack() as end:
        end.callback(peer.stop)
        end.enter_context(stage.qemus_stopped())
        with _watched(stage, row):
            until = time.monotonic() + stage.size.seconds
            while len(looks) < stage.size.looks or time.monotonic() < until:
                looked_at = time.monotonic()
                patience = stage.size.patience / (_SHORTER if row.given_up else 1)
                looks.append(peer.look(patience))
                if not row.given_up:
                    patient = len(looks)
                row.given_up += time.monotonic() - looked_at >= patience
                time.sleep(_PAUSE_SECONDS)
    # Only of those which had all the patience there is.
    told = [told_of(peer, look, stage) for look in looks[:patient]]
    domains, guests = stage.healthy()
    if peer.held or not peer.used:
        row.domains = (min(len(domains & one) for one, _ in told), len(domains))
    if peer.used:
        row.guests = (min(len(guests & one) for _, one in told), len(guests))
    row.looks = len(looks)
    if not row.given_up:
        row.late = max(look.seconds for look in looks)
    row.trouble = next((look.trouble for look in looks if look.trouble), "")
    return row


def _agent_row(stage: _Stage, directory: pathlib.Path) -> Row:
    """The agent; cycles that began before the QEMUs were stopped do not count."""
    row = Row(AGENT, "this tree")
    options = {"agent": {"interval": _INTERVAL_SECONDS, "full_cycles": 1}}
    agent = Agent(stage.host.hypervisor.uri, directory, options)
    cycles: list[Cycle] = []
    with contextlib.ExitStack() as end:
        end.callback(agent.abandon)
        agent.start()
        agent.cycle()
        end.enter_context(stage.qemus_stopped())
        stopped_at = datetime.datetime.now(datetime.UTC)
        with _watched(stage, row):
            until = time.monotonic() + stage.size.seconds
            while len(cycles) < stage.size.looks or time.monotonic() < until:
                cycle = agent.cycle()
                if cycle.began >= stopped_at:
                    cycles.append(cycle)
        agent.stop()
    domains, guests = stage.healthy()
    uuids = stage.scene.uuids
    row.domains = _worst([uuids[name] for name in domains], [one.host for one in cycles])
    row.guests = _worst([uuids[name] for name in guests], [one.guest or set() for one in cycles])
    row.looks = len(cycles)
    row.late = max(one.seconds for one in cycles)
    return row


def _row(peer: Peer | None, stage: _Stage, directory: pathlib.Path) -> Row:
    """That of a peer, or of the agent; one that cannot be had or read does not end the others."""
    try:
        return _peer_row(peer, stage, directory) if peer else _agent_row(stage, directory)
    except (PeerError, SubjectError, ValueError, KeyError) as error:
        name = peer.name if peer else AGENT
        said = str(error).strip().splitlines() or [""]
        return Row(name, absent=f"{type(error).__name__}: {said[-1]}")


def _worst(wanted: Sequence[str], seen: Sequence[set[str] | frozenset[str]]) -> tuple[int, int]:
    return min(len(one & set(wanted)) for one in seen), len(wanted)


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """The part of the result file: with few domains in small."""
    if options.domains < SMALLEST:
        size, peers = SMOKE, few_peers
    else:
        size, peers = dataclasses.replace(Size(), domains=options.domains), every_peer
    where = about(options)
    with (
        tempfile.TemporaryDirectory(prefix="hangs-", dir="/var/tmp") as directory,
        Hypervisor(options.stack) as hypervisor,
    ):
        points = measure_points(hypervisor, pathlib.Path(directory), peers, size, say)
        return {
            "about": where,
            "versions": hypervisor.versions,
            "size": dataclasses.asdict(size),
            "points": points,
        }


def measure_points(
    hypervisor: Hypervisor,
    directory: pathlib.Path,
    peers: Callable[[], Sequence[Peer]],
    size: Size,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The rows of every point.

    :param peers: makes them; new ones for each point.
    """
    most = size.count(max(size.percents))
    points = []
    crowd_size = CrowdSize(size.domains, max(1, most), most, size.healthy_guests)
    # Running, since some tools leave out what is paused.
    rom = halting_rom(hypervisor)
    with (
        crowd(hypervisor, crowd_size, rom=rom) as host,
        Watch(hypervisor.admin_uri) as watch,
    ):
        _define_newcomer(hypervisor)
        say(f"{size.domains} domains are up")
        stage = _Stage(host, watch, size)
        for count in sorted({size.count(percent) for percent in size.percents}):
            rows = []
            with stage.point(count, count):
                for number, peer in enumerate((*peers(), None)):
                    own = directory / f"{count}-{number}"
                    own.mkdir()
                    begun = time.monotonic()
                    row = _row(peer, stage, own)
                    row.daemon_restarted = stage.clean_up()
                    rows.append(dataclasses.asdict(row))
                    took = f"{time.monotonic() - begun:.0f} s"
                    say(f"{count} hang: {row.name}, {row.absent or took}")
            points.append({"stopped": count, "hung": count, "rows": rows})
        if count > 1:
            with stage.point(count, 0):
                points[-1]["script"] = _script(stage)
                stage.clean_up()
                say(f"{count} hang: a script that goes on, {points[-1]['script']}")
    return points


def _script(stage: _Stage) -> dict[str, Any]:
    """What becomes of libvirtd when a script looks again and again, and is given up each time.

    ``held`` workers after so many ``looks``, and the seconds of a ``start`` then.
    """
    hypervisor = stage.host.hypervisor
    command = ["virsh", "--readonly", "--connect", hypervisor.uri_readonly, "domstats", "--block"]
    newcomers = _Newcomers(hypervisor.uri, stage.size.patience)
    held = looks = 0
    with stage.qemus_stopped():
        while held < _ALL_WORKERS and looks < _MOST_LOOKS:
            begun = time.monotonic()
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_LOOK
                )
            looks += 1
            # The newest worker's window has to be a whole one.
            time.sleep(WINDOW_SECONDS)
            held = stage.watch.held(begun, time.monotonic())
        newcomers.start_one()
    return {"looks": looks, "held": held, "start": newcomers.seconds[0]}


def _define_newcomer(hypervisor: Hypervisor) -> None:
    connection = libvirt.open(hypervisor.uri)
    try:
        connection.defineXML(_NEWCOMER.xml(hypervisor.workdir, None))
    finally:
        connection.close()


def every_peer() -> list[Peer]:
    """All that ask a running host; the agent's row follows by itself."""
    return [
        Stat(),
        Bulk(),
        Domblkinfo(),
        Ceilometer(),
        Exporter(),
        Collectd(),
        Guestinfo(),
        Audit(guests=False),
        Audit(guests=True),
    ]


def few_peers() -> list[Peer]:
    """One that hangs is enough to see that hanging is seen."""
    return [Bulk()]


# -- what is shown ----------------------------------------------------------------------------


def unharmed(point: Mapping[str, Any]) -> list[str]:
    """Names of the peers that told of every healthy domain in every look and held few workers."""
    return [
        row["name"]
        for row in point["rows"]
        if row["domains"] is not None
        and row["domains"][0] == row["domains"][1]
        and (row["guests"] is None or row["guests"][0] == row["guests"][1])
        and not row["given_up"]
        and row["held"] <= MOST_HELD
    ]


def render(part: Mapping[str, Any]) -> str:
    """See :mod:`tests.bench.peers`."""
    size, versions = part["size"], part["versions"]
    blocks = [
        f"{conditions(part['about'])} libvirt {versions['libvirt']}, QEMU {versions['qemu']}.",
        f"{size['domains']} domains; a look is given up after {size['patience']:g} s, and every "
        f"peer looks at least {size['looks']} times. Of each the look that told least, the slowest "
        "look, and the slower of two `virsh start` of another domain meanwhile.",
    ]
    head = (
        "peer", "healthy domains told of", "healthy guests told of", "late, s",
        "workers of libvirtd held", "`virsh start`, s", "looks",
    )  # fmt: skip
    for point in part["points"]:
        title = f"{point['stopped']} QEMUs stopped, {point['hung']} agents hung"
        if not point["stopped"]:
            title = "All well"
        rows = [head, *(_cells(row, size["patience"]) for row in point["rows"])]
        stood = ", ".join(unharmed(point)) or "none"
        blocks += [
            f"### {title}",
            page.table(rows),
            "Every healthy domain and guest in every look, and at most "
            f"{MOST_HELD} workers held: {stood}.",
        ]
        if script := point.get("script"):
            took = f"took {script['start']:.2f} s" if script["start"] else "did not end either"
            blocks.append(
                "A script that runs `virsh domstats --block` again and again, and is killed each "
                f"time: {script['held']} of libvirtd's {_ALL_WORKERS} workers were held after "
                f"{script['looks']} times, and `virsh start` {took}."
            )
    return "\n\n".join(blocks) + "\n"


def _cells(row: Mapping[str, Any], patience: float) -> list[str]:
    if row["absent"]:
        return [row["name"], f"not measured: {row['absent']}", *[""] * 5]
    never = f"> {patience:g}"
    looks = f"{row['looks']}, {row['given_up']} given up" if row["given_up"] else str(row["looks"])
    if row["start_failed"]:
        slowest = f"failed ({row['start_failed']})"
    else:
        slowest = never if None in row["starts"] else f"{max(row['starts']):.2f}"
    return [
        row["name"],
        _of(row["domains"]),
        _of(row["guests"]),
        never if row["late"] is None else f"{row['late']:.2f}",
        str(row["held"]),
        slowest,
        looks + (", libvirtd restarted" if row["daemon_restarted"] else ""),
    ]


def _of(told: Sequence[int] | None) -> str:
    if told is None:
        return "-"
    return f"{told[0]} of {told[1]}" if told[0] == told[1] else f"**{told[0]} of {told[1]}**"

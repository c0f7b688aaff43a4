# SPDX-License-Identifier: Apache-2.0
"""How time and memory grow with the work: domains, disks, backing chains, mounts of a guest.

Each curve has a private libvirtd. At each of its points, in turn and repeatedly:

``bulk``
    bare ``getAllDomainStats(BLOCK)`` on a connection that is open: the line to compare with
``audit``
    ``nova-diskaudit audit``, a whole process, guests asked; its memory in a run of its own
``full_cycle``, ``quiet_cycle``
    the agent's engine, warm (:mod:`tests.bench.peers.cycles`): without the start of a process, so
    that growth has nothing to hide behind
``bare_agent``
    on the curve of mounts: one bare ``guest-get-fsinfo`` for each guest

and what was reported is checked, so that nothing is fast by leaving something out. How fast each
of them grows is fitted (:mod:`tests.bench.peers.growth`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

import libvirt
import libvirt_qemu

from nova_diskaudit.host.processes import processes
from tests.bench import fleet
from tests.bench.gauge import largest_of_command
from tests.bench.peers import page, pictures
from tests.bench.peers.growth import LINEAR, growth, upper_half
from tests.bench.peers.result import Options, about, conditions
from tests.bench.processes import clock_seconds
from tests.lab.domain import GIB, MIB, Disk, Domain
from tests.lab.hypervisor import Hypervisor
from tests.lab.machine import Machine, await_true, boot

NAME = "curves"
#: domains; with fewer it is the smoke size
SMALLEST = 20

_TOOL = os.path.join(os.path.dirname(sys.executable), "nova-diskaudit")
_MIB = 2**20
_LETTERS = "abcdefghijklmnopqrstuvwx"


@dataclasses.dataclass(frozen=True)
class Size:
    """The points of each curve, and how much of everything else there is at each."""

    domains: tuple[int, ...] = (10, 30, 100, 200, 300)
    disks: tuple[int, ...] = (1, 2, 4, 8, 16, 24)
    chains: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    mounts: tuple[int, ...] = (1, 10, 50, 100, 200)
    #: domains on the curves of disks and chains
    members: int = 10
    #: on the curve of mounts
    guests: int = 3
    rounds: int = 5
    quiet_cycles: int = 20


SMOKE = Size((2, 4), (1, 3), (1, 3), (1, 20), members=2, guests=1, rounds=1, quiet_cycles=2)


class CurveError(RuntimeError):
    """What was looked at is not what was reported, so that its time means nothing."""


@dataclasses.dataclass(frozen=True)
class Point:
    """A host as it is at one point, and what must be found there."""

    x: int
    domains: int
    disks: int
    #: bytes of all layers below the top ones, by domain
    backing: dict[str, int] = dataclasses.field(default_factory=dict)
    #: guests whose agent answers, and how many filesystems each of them tells of
    guests: tuple[Machine, ...] = ()
    mounts: int = 0


Points = Callable[[Hypervisor, Size], Generator[Point, None, None]]


# -- the hosts --------------------------------------------------------------------------------


def _start(hypervisor: Hypervisor, domains: Sequence[Domain]) -> None:
    connection = libvirt.open(hypervisor.uri)
    try:
        for domain in domains:
            for disk in domain.disks:
                disk.make(domain.name, hypervisor)
            xml = domain.xml(hypervisor.workdir, None)
            connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
    finally:
        connection.close()


def _end_all(hypervisor: Hypervisor) -> None:
    _kill(hypervisor, set(hypervisor.members()) - {hypervisor.pid}, 0)


def _end(hypervisor: Hypervisor, domains: Sequence[Domain]) -> None:
    running = processes()
    ended = {running[domain.uuid].pid for domain in domains}
    _kill(hypervisor, ended, len(set(hypervisor.members()) - {hypervisor.pid} - ended))


def _kill(hypervisor: Hypervisor, pids: Iterable[int], left: int) -> None:
    """All at once: ``virDomainDestroy`` takes nearly 2 s for each paused QEMU."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    connection = libvirt.open(hypervisor.uri)
    try:
        await_true("libvirt noticed their end", lambda: len(connection.listAllDomains()) == left)
    finally:
        connection.close()


def _by_domains(hypervisor: Hypervisor, size: Size) -> Generator[Point, None, None]:
    """Two disks each: a qcow2 overlay on a base that all share, and a sparse raw file."""
    hypervisor.run("truncate", "-s", "64M", str(hypervisor.workdir / "base.raw"))
    there = 0
    for count in size.domains:
        _start(hypervisor, [fleet.member(number) for number in range(there, count)])
        there = count
        yield Point(count, count, 2 * count)
    # And back: it takes minutes, and a machine whose speed drifts meanwhile must not look like
    # growth.
    for count in reversed(size.domains[:-1]):
        _end(hypervisor, [fleet.member(number) for number in range(count, there)])
        there = count
        yield Point(count, count, 2 * count)


def _by_disks(hypervisor: Hypervisor, size: Size) -> Generator[Point, None, None]:
    """Sparse raw files."""
    for count in size.disks:
        disks = tuple(Disk(f"vd{letter}", GIB) for letter in _LETTERS[:count])
        names = [f"disks-{count}-{number}" for number in range(size.members)]
        _start(hypervisor, [Domain(name, disks, paused=True) for name in names])
        yield Point(count, size.members, size.members * count)
        _end_all(hypervisor)


def _layers(path: pathlib.Path, depth: int) -> list[pathlib.Path]:
    """The files of a chain, the top first."""
    return [path, *(path.with_suffix(f".{number}") for number in range(depth - 1))]


def _chain(depth: int) -> Disk:
    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        *overlays, base = _layers(path, depth)
        lines = ["set -e", f"qemu-img create -q -f qcow2 {base} 1G"]
        below = base
        for layer in reversed(overlays):
            # -u: opening all that lies below for each of them is not what is measured
            lines.append(f"qemu-img create -q -u -f qcow2 -F qcow2 -b {below} {layer} 1G")
            below = layer
        hypervisor.run("sh", "-c", "\n".join(lines))

    return Disk("vda", GIB, "qcow2", prepare=prepare)


def _by_chains(hypervisor: Hypervisor, size: Size) -> Generator[Point, None, None]:
    """One disk each, of so many layers of its own; 1 is an image without a backing file."""
    for depth in size.chains:
        domains = [
            Domain(f"chain-{depth}-{number}", (_chain(depth),), paused=True)
            for number in range(size.members)
        ]
        _start(hypervisor, domains)
        backing = {}
        for domain in domains:
            _, *below = _layers(domain.disks[0].path(domain.name, hypervisor.workdir), depth)
            backing[domain.name] = sum(layer.stat().st_blocks * 512 for layer in below)
        yield Point(depth, size.members, size.members, backing)
        _end_all(hypervisor)


def _says(count: int, serial: str) -> tuple[tuple[str, str], ...]:
    """Files of an agent that tells of so many filesystems, each on a partition of its own."""
    each = 64 * MIB // count // 4096 * 4096
    found = [
        {
            "name": f"vdb{number}",
            "mountpoint": f"/srv/volumes/tenant-{number:04d}/data",
            "type": "ext4",
            "used-bytes": each // 4,
            "total-bytes": each,
            "disk": [
                {
                    "bus-type": "virtio",
                    "bus": 0,
                    "unit": 0,
                    "target": 0,
                    "pci-controller": {"domain": 0, "bus": 0, "slot": 5, "function": 0},
                    "serial": serial,
                    "dev": f"/dev/vdb{number}",
                }
            ],
        }
        for number in range(1, count + 1)
    ]
    info = {"version": "8.2.0", "supported_commands": []}
    return (
        (f"/lab/mounts-{count}/guest-get-fsinfo", json.dumps({"return": found}) + "\n"),
        (f"/lab/mounts-{count}/guest-info", json.dumps({"return": info}) + "\n"),
    )


def _by_mounts(hypervisor: Hypervisor, size: Size) -> Generator[Point, None, None]:
    """Really booted guests, in which a program in the place of the agent answers from a file."""
    guests: list[Machine] = []
    try:
        for number in range(size.guests):
            serial = f"mounts-{number}"
            files = tuple(file for count in size.mounts for file in _says(count, serial))
            disks = (Disk("vda", 64 * MIB), Disk("vdb", 64 * MIB, serial=serial))
            spec = Domain(f"mounts-{number}", disks, ":\n", files, small=True)
            guests.append(boot(hypervisor, spec))
        for count in size.mounts:
            for machine in guests:
                machine.run("agent_end")
                _await_channel(machine, "disconnected")
                machine.run(f"agent_script /lab/fake-agent /lab/mounts-{count}")
                _await_channel(machine, "connected")
            yield Point(count, len(guests), 2 * len(guests), guests=tuple(guests), mounts=count)
    finally:
        for machine in guests:
            machine.stop()


def _await_channel(machine: Machine, state: str) -> None:
    await_true(f"{machine.spec.name}'s agent is {state}", lambda: machine.channel_state() == state)


@dataclasses.dataclass(frozen=True)
class Curve:
    """``unit`` is what stands on the axis."""

    key: str
    title: str
    unit: str
    points: Points


CURVES = (
    Curve("domains", "domains of two disks each", "domains", _by_domains),
    Curve("disks", "disks of a domain", "disks per domain", _by_disks),
    Curve("chains", "layers of a backing chain", "layers per disk", _by_chains),
    Curve("mounts", "filesystems that a guest tells of", "mounts per guest", _by_mounts),
)
# -- the meters -------------------------------------------------------------------------------


@dataclasses.dataclass
class _Spent:
    """Seconds of each time, and processor seconds of all of them."""

    libvirtd: int
    seconds: list[float] = dataclasses.field(default_factory=list)
    _client: float = 0.0
    _server: float = 0.0

    def add(self, work: Callable[[], object]) -> None:
        client, server, begun = _own_cpu(), clock_seconds({self.libvirtd}), time.perf_counter()
        work()
        self.seconds.append(time.perf_counter() - begun)
        self._client += _own_cpu() - client
        self._server += clock_seconds({self.libvirtd}) - server

    def told(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "client_cpu_seconds": self._client / len(self.seconds),
            "libvirtd_cpu_seconds": self._server / len(self.seconds),
        }


def _own_cpu() -> float:
    """Ours, and that of the children that we have waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _audit_command(uri: str) -> list[str]:
    return [_TOOL, "audit", "--connect", uri, "--format", "json"]


def _audit(uri: str, point: Point) -> None:
    done = subprocess.run(_audit_command(uri), stdout=subprocess.PIPE, check=True)
    check(json.loads(done.stdout), point)


def check(report: dict[str, Any], point: Point) -> None:
    """That everything was found and told of.

    :raises CurveError: when not.
    """
    instances = report["instances"]
    disks = [disk for instance in instances for disk in instance["disks"]]
    found = {
        "domains": len(instances),
        "disks with the bytes held": sum(d["host_allocated_bytes"] is not None for d in disks),
        "disks with libvirt's evidence": sum(d["libvirt"] is not None for d in disks),
        "filesystems": sum(len(instance["filesystems"]) for instance in instances),
    }
    wanted = {
        "domains": point.domains,
        "disks with the bytes held": point.disks,
        "disks with libvirt's evidence": point.disks,
        "filesystems": len(point.guests) * point.mounts,
    }
    if found != wanted:
        raise CurveError(f"at {point.x}: found {found}, there are {wanted}")
    if point.backing:
        told = {one["domain"]: one["disks"][0]["backing_bytes"] for one in instances}
        if told != point.backing:
            raise CurveError(f"at {point.x}: chains hold {point.backing}, told {told}")


def _bare_agent(point: Point) -> None:
    for machine in point.guests:
        libvirt_qemu.qemuAgentCommand(machine.domain, '{"execute": "guest-get-fsinfo"}', 10, 0)


def _meter(hypervisor: Hypervisor, point: Point, size: Size) -> dict[str, Any]:
    uri, pid = hypervisor.uri, hypervisor.pid
    spent = {"bulk": _Spent(pid), "audit": _Spent(pid)}
    work: dict[str, Callable[[], object]] = {"audit": lambda: _audit(uri, point)}
    connection = libvirt.openReadOnly(uri)
    try:
        work["bulk"] = lambda: connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BLOCK)
        if point.guests:
            spent["bare_agent"] = _Spent(pid)
            work["bare_agent"] = lambda: _bare_agent(point)
        for name in spent:  # a first time that does not count
            work[name]()
        for _ in range(size.rounds):
            for name, one in spent.items():
                one.add(work[name])
    finally:
        connection.close()
    told: dict[str, Any] = {name: one.told() for name, one in spent.items()}
    told["audit"]["peak_pss_bytes"] = largest_of_command(_audit_command(uri))
    command = [sys.executable, "-m", "tests.bench.peers.cycles", uri, str(pid)]
    rounds = (str(size.rounds), str(size.quiet_cycles))
    done = subprocess.run([*command, *rounds], stdout=subprocess.PIPE, check=True)
    told |= json.loads(done.stdout)
    if (quiet := told["quiet_cycle"]["quiet"]) != point.domains:
        raise CurveError(f"at {point.x}: {quiet} of {point.domains} domains were quiet")
    return {"x": point.x, "domains": point.domains, "disks": point.disks, **told}


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """One point that was measured twice: all seconds of both, and the means of what is a mean."""
    both: dict[str, Any] = {}
    for key, one in first.items():
        other = second[key]
        if isinstance(one, dict):
            both[key] = merged(one, other)
        elif isinstance(one, list):
            both[key] = [*one, *other]
        else:
            both[key] = one if one == other else (one + other) / 2
    return both


def size_of(options: Options) -> Size:
    """The whole of it for a hundred domains, more or fewer of them; next to nothing for a few."""
    if options.domains < SMALLEST:
        return SMOKE
    counts = tuple(count * options.domains // 100 for count in Size.domains)
    return Size(counts, rounds=options.rounds)


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """All curves.

    :raises CurveError: when an audit did not tell of everything.
    """
    where, size = about(options), size_of(options)
    curves: dict[str, Any] = {}
    start: dict[str, Any] | None = None
    for curve in CURVES:
        with Hypervisor(options.stack) as hypervisor:
            if start is None:
                # What an audit takes that has next to nothing to do.
                _start(hypervisor, [Domain("alone", (Disk("vda", GIB),), paused=True)])
                start = _meter(hypervisor, Point(1, 1, 1), size)["audit"]
                _end_all(hypervisor)
            told: dict[int, dict[str, Any]] = {}
            with contextlib.closing(curve.points(hypervisor, size)) as points:
                for point in points:
                    begun = time.monotonic()
                    meters = _meter(hypervisor, point, size)
                    told[point.x] = merged(told[point.x], meters) if point.x in told else meters
                    say(f"{curve.key} {point.x}: measured in {time.monotonic() - begun:.0f} s")
            curves[curve.key] = {
                "title": curve.title,
                "unit": curve.unit,
                "points": list(told.values()),
                "growth": _growth(list(told.values()), start),
            }
            versions = hypervisor.versions
    measured = {"about": where, "versions": versions, "start": start, "curves": curves}
    draw(measured, options.output)
    return measured


#: what is drawn and fitted: label, entry of a point, member of it
SERIES = {
    "bulk": ("bare getAllDomainStats(BLOCK)", "bulk", "seconds"),
    "bare_agent": ("bare guest-get-fsinfo of each guest", "bare_agent", "seconds"),
    "audit": ("audit, whole process", "audit", "seconds"),
    "full_cycle": ("agent, full cycle", "full_cycle", "seconds"),
    "quiet_cycle": ("agent, quiet cycle", "quiet_cycle", "seconds"),
    "audit_cpu": ("audit: processor, libvirtd's included", "audit", "cpu"),
    "full_cycle_cpu": ("agent, full cycle: processor, libvirtd's included", "full_cycle", "cpu"),
    "audit_memory": ("audit: memory at its largest", "audit", "peak_pss_bytes"),
    "agent_memory": ("agent's engine: memory", "full_cycle", "pss_bytes"),
}
_OURS = tuple(key for key in SERIES if not key.startswith("bare") and key != "bulk")
_PEERS = ("bulk", "bare_agent")


def _value(entry: dict[str, Any], member: str) -> float:
    if member == "seconds":
        return statistics.median(entry["seconds"])
    if member == "cpu":
        return float(entry["client_cpu_seconds"] + entry["libvirtd_cpu_seconds"])
    return float(entry[member])


def _least(entry: dict[str, Any], member: str) -> float:
    """What others on the machine add to a time, they only add: so growth is that of the least."""
    return min(entry["seconds"]) if member == "seconds" else _value(entry, member)


def values(
    points: Sequence[dict[str, Any]],
    key: str,
    value: Callable[[dict[str, Any], str], float] = _value,
) -> list[float]:
    """A series by its points; empty where it was not measured."""
    _, entry, member = SERIES[key]
    return [value(point[entry], member) for point in points if entry in point]


def _growth(points: Sequence[dict[str, Any]], start: dict[str, Any]) -> dict[str, Any]:
    """Of each series; what the start of a process takes is taken off an audit's."""
    sizes = [point["x"] for point in points]
    found = {}
    for key, (_, entry, member) in SERIES.items():
        if series := values(points, key, _least):
            constant = _least(start, member) if entry == "audit" else 0.0
            grown = growth(sizes, series, constant)
            found[key] = dataclasses.asdict(grown) | {"linear_at_most": grown.is_linear_at_most}
    return found


def faster_than_linear(measured: Mapping[str, Any]) -> list[str]:
    """Where something of ours grows faster than linearly: curve, series and exponent."""
    return [
        f"{SERIES[key][0]} with {curve['unit']}: {found['exponent']:.2f}"
        for curve in measured["curves"].values()
        for key, found in curve["growth"].items()
        if key in _OURS and not found["linear_at_most"]
    ]


# -- what is shown ----------------------------------------------------------------------------


def render(part: Mapping[str, Any]) -> str:
    """See :mod:`tests.bench.peers`."""
    where, versions, start = part["about"], part["versions"], part["start"]
    found = faster_than_linear(part)
    blocks = [
        f"{conditions(where)} libvirt {versions['libvirt']}, QEMU {versions['qemu']}. "
        f"Medians of {len(start['seconds'])} rounds (of twice as many where the numbers of domains "
        "are gone through upwards and downwards), and growth of the least of them; processor time "
        "is the client's + libvirtd's.",
        f"An audit of one domain with one disk takes {_value(start, 'seconds'):.2f} s and "
        f"{start['peak_pss_bytes'] / _MIB:.1f} MiB; that is taken off an audit's values before "
        "their growth is fitted.",
        "Nothing of ours grows faster than linearly "
        f"(no exponent above {LINEAR:g}): **{'no' if found else 'yes'}**.",
        *(["\n".join(f"* {one}" for one in found)] if found else []),
    ]
    for key in (one.key for one in CURVES):
        curve = part["curves"][key]
        blocks += [f"### {curve['title'].capitalize()}", _points(curve), _growths(curve)]
        for what in ("time", "memory"):
            words = f"{what} by {curve['title']}: the numbers of the table above as lines"
            blocks.append(page.picture(_picture(key, what), words))
    return "\n\n".join(blocks) + "\n"


def _picture(key: str, what: str) -> str:
    return f"curve-{key}-{what}.svg"


def _points(curve: Mapping[str, Any]) -> str:
    points = curve["points"]
    agents = "bare_agent" in points[0]
    head = [
        curve["unit"],
        "bare bulk call, ms",
        *(["bare calls of agents, ms"] if agents else []),
        "audit, ms",
        "its processor time, ms",
        "its memory, MiB PSS",
        "full cycle, ms",
        "its processor time, ms",
        "quiet cycle, ms",
    ]
    rows = [head]
    for point in points:
        audit, full, quiet = point["audit"], point["full_cycle"], point["quiet_cycle"]
        rows.append(
            [
                str(point["x"]),
                _ms(_value(point["bulk"], "seconds")),
                *([_ms(_value(point["bare_agent"], "seconds"))] if agents else []),
                _ms(_value(audit, "seconds")),
                f"{_ms(audit['client_cpu_seconds'])} + {_ms(audit['libvirtd_cpu_seconds'])}",
                f"{audit['peak_pss_bytes'] / _MIB:.1f}",
                _ms(_value(full, "seconds")),
                f"{_ms(full['client_cpu_seconds'])} + {_ms(full['libvirtd_cpu_seconds'])}",
                _ms(_value(quiet, "seconds")),
            ]
        )
    return page.table(rows)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g}" if seconds < 0.1 else f"{seconds * 1000:.0f}"


def _growths(curve: Mapping[str, Any]) -> str:
    sizes = [point["x"] for point in curve["points"]]
    fitted = ", ".join(map(str, sizes[upper_half(sizes) :]))
    rows = [(f"as a power of {curve['unit']}, fitted over {fitted}", "exponent")]
    for key, found in curve["growth"].items():
        exponent = found["exponent"]
        rows.append((SERIES[key][0], found["why"] if exponent is None else f"{exponent:.2f}"))
    return page.table(rows)


def draw(measured: Mapping[str, Any], directory: pathlib.Path) -> list[pathlib.Path]:
    """Two pictures of each curve: time, and memory."""
    made = []
    for key, curve in measured["curves"].items():
        x = curve["unit"], [point["x"] for point in curve["points"]]
        time_lines = _lines(curve, (*_PEERS, "audit", "full_cycle", "quiet_cycle"), 1000)
        memory_lines = _lines(curve, ("audit_memory", "agent_memory"), 1 / _MIB)
        made += [
            pictures.lines(
                directory / _picture(key, "time"),
                title=f"Time by {curve['title']}",
                x=x,
                y=("milliseconds", time_lines),
            ),
            pictures.lines(
                directory / _picture(key, "memory"),
                title=f"Memory by {curve['title']}",
                x=x,
                y=("MiB", memory_lines),
                logarithmic=False,
            ),
        ]
    return made


def _lines(curve: dict[str, Any], keys: Sequence[str], scale: float) -> dict[str, list[float]]:
    found = {SERIES[key][0]: values(curve["points"], key) for key in keys}
    return {label: [scale * v for v in series] for label, series in found.items() if series}

# SPDX-License-Identifier: Apache-2.0
"""The table: what a look costs each peer, and how many of the disks it reports right.

All look at the same domains, one after the other, and that several times over, so that a machine
whose speed drifts favours nobody. A peer that is a service runs only while it has its turn.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tests.bench.gauge import Gauge, gauged
from tests.bench.peers import rpc
from tests.bench.peers.bare_stat import Stat
from tests.bench.peers.bulk import Bulk
from tests.bench.peers.ceilometer import Ceilometer
from tests.bench.peers.collectd import Collectd
from tests.bench.peers.domblkinfo import Domblkinfo
from tests.bench.peers.exporter import Exporter
from tests.bench.peers.host import Host, Truth, host
from tests.bench.peers.ours import Audit, Cycle
from tests.bench.peers.peer import Answers, DiskId, Peer, PeerError
from tests.bench.peers.result import Options, about
from tests.bench.peers.table_page import render
from tests.bench.peers.virt_df import VirtDf
from tests.bench.processes import clock_seconds
from tests.lab.hypervisor import Hypervisor

__all__ = ["NAME", "measure", "render"]

NAME = "table"

_IDLE_SECONDS = 3.0
# Before and behind each turn of a peer that looks for seconds: what booted guests spend by
# themselves then is much, and not always the same.
_REST_SECONDS = 8.0
_SAMPLE_SECONDS = 0.01
_DOMAINS_OF_VIRT_DF = 3

NOT_TOLD = "not told"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A peer's place in the table.

    ``only`` are the domains that it is asked about (None: all). ``once``: it takes so long that it
    looks in the first round alone. ``long``: it looks for seconds.
    """

    peer: Peer
    only: frozenset[str] | None = None
    once: bool = False
    long: bool = False


def entries(some: Host) -> list[Entry]:
    """All peers, ours last."""
    few = sorted(some.shut_off)[:_DOMAINS_OF_VIRT_DF]
    one = min(name for name in some.scene.uuids if name not in some.shut_off)
    return [
        Entry(Stat()),
        Entry(Bulk()),
        Entry(Domblkinfo()),
        Entry(Ceilometer()),
        Entry(Exporter()),
        Entry(Collectd()),
        Entry(VirtDf(few), frozenset(few), once=True),
        Entry(Audit(guests=False, instance=one), frozenset({one})),
        Entry(Audit(guests=False)),
        Entry(Audit(guests=True)),
        Entry(Cycle(full=True), long=True),
        Entry(Cycle(full=True, evidence=False), long=True),
        Entry(Cycle(full=True, evidence=False, guests=False), long=True),
        Entry(Cycle(full=False), long=True),
    ]


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """The part of the result file, see :func:`measure_host`."""
    where = about(options)
    with (
        Hypervisor(options.stack) as hypervisor,
        host(hypervisor, options.domains, options.guests) as some,
    ):
        say(f"{options.domains} domains are up")
        return {
            "about": where,
            **measure_host(
                some,
                entries(some),
                options.rounds,
                say,
                skip=options.skip,
                rest_seconds=_REST_SECONDS,
            ),
        }


def measure_host(
    some: Host,
    chosen: list[Entry],
    rounds: int,
    say: Callable[[str], None],
    skip: Collection[str] = (),
    rest_seconds: float = 0.5,
) -> dict[str, Any]:
    """Let each peer look at the host in each round.

    ``peers`` of the result are rows: ``missing`` says why there is nothing more. ``looks`` has one
    entry a round: seconds of wall clock, and of processor time of the tool, of libvirtd and of the
    QEMUs; what the latter two spend when nobody looks is taken off: ``idle``, by the second, or of
    a peer that looks long what they spent in ``rest_seconds`` before and behind its turn.
    ``right`` is by field and class, see :func:`judge`.
    """
    os.sync()  # so that blocks are where they stay
    truth = some.truth()
    meter = Meter(some.scene.hypervisor)
    rows: dict[str, dict[str, Any]] = {}
    said: dict[str, list[Answers]] = collections.defaultdict(list)
    for turn in range(1, rounds + 1):
        for entry in chosen:
            name = entry.peer.name
            if name in rows and (entry.once or rows[name]["missing"]):
                continue
            begun = time.monotonic()
            row = rows.setdefault(name, _row(entry))
            if name in skip:
                row["missing"] = "left out of this run"
                continue
            said[name] += _turn(entry, row, some, meter, turn, rest_seconds)
            say(f"round {turn}: {name}, {time.monotonic() - begun:.1f} s{_problem(row)}")
    after = some.truth()
    steady = {disk: one for disk, one in truth.items() if _same(one, after[disk])}
    for entry in chosen:
        rows[entry.peer.name]["fields"] = judge(
            entry.peer, said[entry.peer.name], steady, some.classes, entry.only
        )
    return {
        "versions": some.scene.hypervisor.versions,
        "disks": len(truth),
        "classes": dict(collections.Counter(some.classes[disk] for disk in steady)),
        "unsteady": len(truth) - len(steady),
        "idle": {
            "libvirtd": meter.idle.libvirtd / meter.idle.at,
            "qemu": meter.idle.qemu / meter.idle.at,
        },
        "peers": list(rows.values()),
        "targets": targets(rows),
    }


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.peer.name,
        "version": "",
        "missing": "",
        "domains": None if entry.only is None else len(entry.only),
        "looks": [],
        "memory_bytes": None,
        "libvirt_calls": None,
        "qemu_commands": None,
    }


def _problem(row: Mapping[str, Any]) -> str:
    troubles = [look["trouble"] for look in row["looks"] if look["trouble"]]
    return f": {row['missing'] or troubles[-1]}" if row["missing"] or troubles else ""


def _turn(
    entry: Entry,
    row: dict[str, Any],
    some: Host,
    meter: Meter,
    turn: int,
    rest_seconds: float,
) -> list[Answers]:
    """One peer's turn in a round; in the first one also a look whose calls are counted."""
    peer, scene = entry.peer, some.scene
    rests = [meter.rest(rest_seconds)] if entry.long else [meter.idle]
    with tempfile.TemporaryDirectory(prefix="peer-", dir="/var/tmp") as directory:
        try:
            row["version"] = peer.version()
            peer.start(scene, pathlib.Path(directory))
        except PeerError as error:
            row["missing"] = str(error)
            return []
        try:
            if turn == 1 and not entry.once:
                with rpc.Counted(scene.hypervisor) as counted, _gauge(peer) as gauge:
                    look = peer.look()
                row["memory_bytes"] = gauge.largest() or None
                row["libvirt_calls"] = sum(counted.calls.libvirt.values()) / look.count
                row["qemu_commands"] = sum(counted.calls.qemu.values()) / look.count
            with contextlib.ExitStack() as watched:
                if entry.once:
                    gauge = watched.enter_context(_gauge(peer))
                before = meter.now(peer.pids())
                look = peer.look()
                spent = meter.now(peer.pids()).since(before)
            if entry.once:
                row["memory_bytes"] = gauge.largest() or None
        finally:
            peer.stop()
    if entry.long:
        rests.append(meter.rest(rest_seconds))
    spent = spent.beyond(rests)
    own = spent.client if look.cpu_seconds is None else look.cpu_seconds * look.count
    row["looks"].append(
        {
            "round": turn,
            "seconds": look.seconds,
            "client_cpu_seconds": own / look.count,
            "libvirtd_cpu_seconds": spent.libvirtd / look.count,
            "qemu_cpu_seconds": spent.qemu / look.count,
            "trouble": look.trouble,
        }
    )
    return [peer.read(look.said)]


def _gauge(peer: Peer) -> contextlib.AbstractContextManager[Gauge]:
    return gauged(peer.pids, _SAMPLE_SECONDS)


# --- what it costs ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Spent:
    """Processor seconds, and the time at which (or for which) they were spent."""

    at: float
    client: float
    libvirtd: float
    qemu: float

    def since(self, before: Spent) -> Spent:
        return Spent(
            self.at - before.at,
            self.client - before.client,
            self.libvirtd - before.libvirtd,
            self.qemu - before.qemu,
        )

    def beyond(self, rests: Sequence[Spent]) -> Spent:
        """Without what libvirtd and the QEMUs spend in as much time when nobody looks."""
        share = self.at / sum(rest.at for rest in rests)
        return Spent(
            self.at,
            self.client,
            self.libvirtd - share * sum(rest.libvirtd for rest in rests),
            self.qemu - share * sum(rest.qemu for rest in rests),
        )


class Meter:
    """Processor time of libvirtd, of all QEMUs, and of the processes of a peer.

    By the kernel's clock of each process: what one look costs a hundred QEMUs would drown in the
    ticks of ``/proc``. ``idle`` is what was spent when nobody looked.
    """

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._libvirtd = hypervisor.pid
        self._qemus = set(hypervisor.members()) - {self._libvirtd}
        self.idle = self.rest(_IDLE_SECONDS)

    def rest(self, seconds: float) -> Spent:
        """What is spent in so many seconds in which nobody looks."""
        before = self.now(set())
        time.sleep(seconds)
        return self.now(set()).since(before)

    def now(self, client: set[int]) -> Spent:
        return Spent(
            time.monotonic(),
            clock_seconds(client),
            clock_seconds({self._libvirtd}),
            clock_seconds(self._qemus),
        )


# --- what is right ------------------------------------------------------------------------------


def judge(
    peer: Peer,
    said: list[Answers],
    truth: Mapping[DiskId, Truth],
    classes: Mapping[DiskId, str],
    only: frozenset[str] | None,
) -> list[dict[str, Any]]:
    """By field: how many disks of each class it told right in every look, and why not.

    ``asked`` counts the disks of which something is true, ``right`` those told right, ``wrong``
    the others by the cause of their first wrong answer.
    """
    found = []
    for kind, fields in (("held", peer.held), ("used", peer.used)):
        for field in fields:
            asked: collections.Counter[str] = collections.Counter()
            right: collections.Counter[str] = collections.Counter()
            wrong: dict[str, collections.Counter[str]] = {}
            for disk, true in truth.items():
                expected = true.held if kind == "held" else true.used
                if expected is None or (only is not None and disk[0] not in only):
                    continue
                name = classes[disk]
                asked[name] += 1
                values = [answers.get(disk, {}).get(field) for answers in said] or [None]
                bad = [value for value in values if value != expected]
                if bad:
                    cause = cause_of(bad[0], true, kind)
                    wrong.setdefault(name, collections.Counter())[cause] += 1
                else:
                    right[name] += 1
            found.append(
                {
                    "field": field,
                    "kind": kind,
                    "asked": dict(asked),
                    "right": dict(right),
                    "wrong": {name: dict(causes) for name, causes in wrong.items()},
                }
            )
    return found


def cause_of(value: int | None, true: Truth, kind: str) -> str:
    """What a wrong number is instead, as far as that can be seen."""
    if value is None:
        return NOT_TOLD
    if kind == "held":
        if value == 0:
            return "0"
        if value == true.highest:
            return "the end of the highest write"
        if value == true.length:
            return "the length of the file"
        if value == true.virtual:
            return "the size of the disk"
    return "another number"


def _same(before: Truth, after: Truth) -> bool:
    return (before.held, before.used) == (after.held, after.used)


# --- what is demanded ---------------------------------------------------------------------------

_OWN = "client_cpu_seconds"
_BULK, _CEILOMETER = Bulk.name, Ceilometer.name
_AUDIT = Audit(guests=False).name
_START = Audit(guests=False, instance="one").name
_FULL, _BARE, _ALONE, _QUIET = (
    Cycle(full=True).name,
    Cycle(full=True, evidence=False).name,
    Cycle(full=True, evidence=False, guests=False).name,
    Cycle(full=False).name,
)


def targets(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the project demands of itself: ``value`` None where a peer is missing."""

    def by_round(one: str, key: str = "seconds") -> dict[int, float]:
        return {look["round"]: look[key] for look in rows.get(one, {}).get("looks", ())}

    def everybody(one: str) -> dict[int, float]:
        """The tool's, libvirtd's and the QEMUs', guests among them; noise below 0 is none."""
        spent = [by_round(one, key) for key in (_OWN, "libvirtd_cpu_seconds", "qemu_cpu_seconds")]
        return {turn: sum(max(0.0, part[turn]) for part in spent) for turn in spent[0]}

    def ratio(above: dict[int, float], below: dict[int, float]) -> float | None:
        pairs = [above[turn] / below[turn] for turn in above if below.get(turn, 0) > 0]
        return statistics.median(pairs) if pairs else None

    start = by_round(_START)
    audit = {turn: spent - start.get(turn, 0.0) for turn, spent in by_round(_AUDIT).items()}
    ours = [
        field
        for name in (_AUDIT, _FULL, _BARE, _ALONE, _QUIET)
        for field in rows.get(name, {}).get("fields", ())
        if field["kind"] == "held"
    ]
    asked = sum(sum(field["asked"].values()) for field in ours)
    right = sum(sum(field["right"].values()) for field in ours)
    return [
        _target(
            "disks whose held bytes ours tells right", right / asked if asked else None, 1, ">="
        ),
        _target(
            "audit beyond its start / bare bulk call, wall time",
            ratio(audit, by_round(_BULK)),
            1.3,
            "<=",
        ),
        _target(
            "Ceilometer's polling / agent's full cycle without evidence, of the host alone as "
            "Ceilometer's, wall time",
            ratio(by_round(_CEILOMETER), by_round(_ALONE)),
            10,
            ">=",
        ),
        _target(
            "the same with the agent's guests asked",
            ratio(by_round(_CEILOMETER), by_round(_BARE)),
            None,
            ">=",
        ),
        _target(
            "agent's full cycle / quiet cycle, processor time of all",
            ratio(everybody(_FULL), everybody(_QUIET)),
            20,
            ">=",
        ),
        _target(
            "agent's full cycle / quiet cycle, its own processor time",
            ratio(by_round(_FULL, _OWN), by_round(_QUIET, _OWN)),
            None,
            ">=",
        ),
    ]


def _target(name: str, value: float | None, bound: float | None, sense: str) -> dict[str, Any]:
    """``bound`` None: the figure is told beside the one above it, and nothing is demanded."""
    kept = None
    if value is not None and bound is not None:
        kept = value >= bound if sense == ">=" else value <= bound
    return {"name": name, "value": value, "sense": sense, "bound": bound, "kept": kept}

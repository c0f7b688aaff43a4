# SPDX-License-Identifier: Apache-2.0
"""Does everybody else stay fresh while some hang, and how many workers of libvirtd does it hold?

One run on one crowd: cycles with all well, then with QEMUs stopped, then with agents hung as
well, then with the subject killed and ended in the middle of cycles. A subject of ours is made to
ask everybody in each cycle, since what is not asked cannot hang.
"""

from __future__ import annotations

import datetime
import random
import signal
import statistics
import time

from tests.bench.crowd import Crowd
from tests.bench.figures import Figure, spread
from tests.bench.subject import Cycle, Subject
from tests.bench.workers import Watch

_MOST_PINNED = 3
_MOST_SLOWER = 2.0
# Calls of a subject that was killed go on in libvirtd for up to 10 s and their timeout, and whoever
# counts them leaves guests alone meanwhile. After that nothing excuses anybody.
_ORPHANS = datetime.timedelta(seconds=16)


class _Seen:
    """Cycles, and who was left out in which."""

    def __init__(self, crowd: Crowd) -> None:
        self._names = crowd.names
        self._host, self._guest = crowd.never_touched()
        self.seconds: list[float] = []
        self.stale: list[str] = []
        self.cycles = 0
        self.tells_of_guests = True

    def take(self, cycle: Cycle, when: str, *, timed: bool = True) -> None:
        self.cycles += 1
        if timed:
            self.seconds.append(cycle.seconds)
        for uuid in sorted(self._host - cycle.host):
            self.stale.append(f"{self._names[uuid]} (host facts, {when})")
        if cycle.guest is None:
            self.tells_of_guests = False
        for uuid in sorted(self._guest - (cycle.guest or frozenset())):
            if cycle.guest is not None:
                self.stale.append(f"{self._names[uuid]} (guest facts, {when})")


def measure(
    crowd: Crowd, subject: Subject, watch: Watch, *, cycles: int, kills: int, seed: int
) -> list[Figure]:
    """The crowd is well before, and hangs afterwards; the subject is not running in both.

    :param cycles: how many are timed in each situation.
    :param kills: how often the subject is killed in the middle of something.
    """
    well, hung = _Seen(crowd), _Seen(crowd)
    subject.start()
    well.take(subject.cycle(), "first cycle", timed=False)
    for _ in range(cycles):
        well.take(subject.cycle(), "all well")

    crowd.stop_hypervisors()
    stopped_at = time.monotonic()
    for _ in range(cycles):
        hung.take(subject.cycle(), "QEMUs stopped")
    stopped_until = time.monotonic()

    crowd.hang()
    hung_at = datetime.datetime.now(datetime.UTC)
    while True:
        cycle = subject.cycle()
        hung.take(cycle, "first cycle with agents hung", timed=False)
        if cycle.began >= hung_at:
            break
    for _ in range(cycles):
        hung.take(subject.cycle(), "agents hung")
    ends = _restarts(subject, kills, seed)
    restarted = _Seen(crowd)
    excused_until = datetime.datetime.now(datetime.UTC) + _ORPHANS
    while (cycle := subject.cycle()).began < excused_until:
        restarted.take(cycle, "restarted", timed=False)
    hung.take(cycle, "after the restarts", timed=False)
    for _ in range(2):
        # Not timed: it may be the first in which the agents that hang are asked again.
        hung.take(subject.cycle(), "after the restarts", timed=False)
    ends.append(subject.stop())

    slower = statistics.median(hung.seconds) / statistics.median(well.seconds)
    slowest = max(hung.seconds) / max(well.seconds)
    pinned_by_stopped, pinned = watch.held(stopped_at, stopped_until), watch.held()
    size = crowd.size
    guests = "" if well.tells_of_guests else " (says nothing of guests)"
    return [
        Figure(
            f"{size.domains} domains, {size.stopped} QEMUs stopped, {size.hung} agents hung: "
            "others that were not fresh in a cycle",
            (
                f"{len(hung.stale)} in {hung.cycles} cycles{guests}"
                + (f": {', '.join(hung.stale[:5])}" if hung.stale else "")
            ),
            "0",
            not hung.stale,
        ),
        Figure(
            "the same with all well",
            f"{len(well.stale)} in {well.cycles} cycles"
            + (f": {', '.join(well.stale[:5])}" if well.stale else ""),
            "0",
            not well.stale,
        ),
        Figure(
            f"within {_ORPHANS.seconds} s after the last of {kills} restarts: others not fresh",
            f"{len(restarted.stale)} in {restarted.cycles} cycles"
            + (f": {', '.join(restarted.stale[:5])}" if restarted.stale else ""),
        ),
        Figure("cycle, all well (s, min / median / max)", spread(well.seconds)),
        Figure("cycle, hung, after the first (s, min / median / max)", spread(hung.seconds)),
        Figure(
            "cycle hung / cycle well: medians, slowest",
            f"{slower:.2f}, {slowest:.2f}",
            f"at most {_MOST_SLOWER:g}",
            max(slower, slowest) <= _MOST_SLOWER,
            of_time=True,
        ),
        Figure(
            "workers of libvirtd held for a second, QEMUs stopped",
            str(pinned_by_stopped),
            "0",
            pinned_by_stopped == 0,
        ),
        Figure(
            f"the same in all of the run, {kills} restarts included",
            str(pinned),
            f"at most {_MOST_PINNED}",
            pinned <= _MOST_PINNED,
        ),
        Figure("busy workers at one moment, short calls included", str(watch.busiest())),
        Figure(
            "end by SIGTERM while calls hang (s, max)",
            f"{max(ends):.2f}",
            "at most 5",
            max(ends) <= 5,
            of_time=True,
        ),
    ]


def _restarts(subject: Subject, kills: int, seed: int) -> list[float]:
    """Kill and end it again and again, mostly in the middle of a cycle; how long the ends took."""
    chance = random.Random(seed)
    ends: list[float] = []
    for number in range(kills):
        sig = signal.SIGTERM if number % 3 == 2 else signal.SIGKILL
        took = subject.stop(sig)
        if sig == signal.SIGTERM:
            ends.append(took)
        subject.start()
        time.sleep(chance.uniform(0.5, 7))
    return ends

# SPDX-License-Identifier: Apache-2.0
"""What our agent costs on a host where all is well: processor time a cycle, and memory.

Processor time is that of the whole process tree. One agent runs through four settings, each for
a number of cycles: everybody asked anew in each cycle (``full_cycles = 1``), nobody (quiet), the
default share of everybody, and no cycle at all, which is what it costs to be there. That last
one, by the second, is taken off the others.

Steady cost at the default interval is what a cycle of the default share costs, spread over 300 s,
and what it costs to be there. libvirtd's processor time is told beside it: it is spent on us too.
"""

from __future__ import annotations

import time

from nova_diskaudit.lane.operations import KINDS
from tests.bench.crowd import Crowd
from tests.bench.figures import Figure
from tests.bench.processes import command_name, cpu_seconds, tree
from tests.bench.subject import Agent

_LEAST_CHEAPER = 20.0
_MOST_STEADY_PERCENT = 1.0
_DEFAULT_INTERVAL_SECONDS = 300
_DEFAULT_FULL_CYCLES = 12
_NEVER = 1_000_000
_LANES = tuple(f"lane-{kind}" for kind in KINDS)


Spent = dict[str, float]


class _Meter:
    """Seconds of processor time since the last look: ``agent`` in all, ``libvirtd``, and the
    lanes by the names of their processes. ``elapsed`` is the time between.
    """

    def __init__(self, crowd: Crowd, agent: Agent) -> None:
        self._crowd = crowd
        self._agent = agent
        self._last = self._now()

    def _now(self) -> Spent:
        assert self._agent.pid is not None
        pids = tree(self._agent.pid)
        found = {
            "elapsed": time.monotonic(),
            "agent": cpu_seconds(pids),
            "libvirtd": cpu_seconds({self._crowd.hypervisor.pid}),
        }
        for pid in pids:
            name = command_name(pid)
            found[name] = found.get(name, 0.0) + cpu_seconds({pid})
        return found

    def reset(self) -> Spent:
        before, self._last = self._last, self._now()
        return {key: value - before.get(key, 0.0) for key, value in self._last.items()}


def measure(crowd: Crowd, agent: Agent, *, cycles: int, idle_seconds: float) -> list[Figure]:
    """The crowd is well; the agent is not running before and afterwards, and of no use then.

    :param cycles: of each kind.
    """
    agent.configure(agent={"full_cycles": 1})
    agent.start()
    agent.cycles_ended(2)
    meter = _Meter(crowd, agent)
    spent: dict[str, Spent] = {}
    for name, full_cycles in (
        ("full", 1),
        ("quiet", _NEVER),
        ("default", _DEFAULT_FULL_CYCLES),
    ):
        agent.configure(agent={"full_cycles": full_cycles})
        # The first ones still have to settle: an image that was written is not quiet for 2 s.
        agent.cycles_ended(2)
        quiet = agent.shown().agent.cycle.quiet
        if name == "quiet":
            assert quiet == crowd.size.domains, f"only {quiet} domains are quiet"
        agent.cycles_ended(1)
        meter.reset()
        agent.cycles_ended(cycles)
        spent[name] = meter.reset()
    agent.configure(agent={"interval": 3600})
    time.sleep(2)
    meter.reset()
    time.sleep(idle_seconds)
    idle = meter.reset()
    there = idle["agent"] / idle["elapsed"]
    agent.stop()

    def of_a_cycle(name: str, who: str) -> float:
        rest = idle.get(who, 0.0) / idle["elapsed"] * spent[name]["elapsed"]
        return (spent[name].get(who, 0.0) - rest) / cycles

    full, quiet, default = (of_a_cycle(name, "agent") for name in ("full", "quiet", "default"))
    # The clock's ticks bound what can be said of a cycle that costs nearly nothing.
    cheaper = full / max(quiet, 1e-4)
    steady = 100 * (there + default / _DEFAULT_INTERVAL_SECONDS)
    rows = [
        Figure(
            f"{label} cycle: processor time of the agent ({', '.join(_LANES)}) / of libvirtd (ms)",
            f"{of_a_cycle(name, 'agent') * 1000:.1f} ("
            + ", ".join(f"{of_a_cycle(name, who) * 1000:.1f}" for who in _LANES)
            + f") / {of_a_cycle(name, 'libvirtd') * 1000:.1f}",
        )
        for name, label in (
            ("full", "full"),
            ("quiet", "quiet"),
            ("default", f"1/{_DEFAULT_FULL_CYCLES} full"),
        )
    ]
    return [
        *rows,
        Figure(
            f"being there, of {idle['elapsed']:.0f} s without a cycle (% of a core)",
            f"{100 * there:.3f}",
        ),
        Figure(
            f"full / quiet, {cycles} cycles each",
            f"{cheaper:.1f}",
            f"at least {_LEAST_CHEAPER:g}",
            cheaper >= _LEAST_CHEAPER,
            of_time=True,
        ),
        Figure(
            f"steady at the default interval, {crowd.size.domains} quiet domains (% of a core)",
            f"{steady:.3f} = {100 * there:.3f} + {default * 1000:.1f} ms / "
            f"{_DEFAULT_INTERVAL_SECONDS} s",
            f"under {_MOST_STEADY_PERCENT:g}",
            steady < _MOST_STEADY_PERCENT,
            of_time=True,
        ),
    ]

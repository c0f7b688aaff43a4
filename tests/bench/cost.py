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

from tests.bench.crowd import Crowd
from tests.bench.figures import Figure
from tests.bench.processes import cpu_seconds, tree
from tests.bench.subject import Agent

_LEAST_CHEAPER = 20.0
_MOST_STEADY_PERCENT = 1.0
_DEFAULT_INTERVAL_SECONDS = 300
_DEFAULT_FULL_CYCLES = 12
_NEVER = 1_000_000


class _Meter:
    """Seconds of processor time since the last look, of the agent and of libvirtd."""

    def __init__(self, crowd: Crowd, agent: Agent) -> None:
        self._crowd = crowd
        self._agent = agent
        self.reset()

    def _now(self) -> tuple[float, float, float]:
        assert self._agent.pid is not None
        daemon = cpu_seconds({self._crowd.hypervisor.pid})
        return time.monotonic(), cpu_seconds(tree(self._agent.pid)), daemon

    def reset(self) -> tuple[float, float, float]:
        """Elapsed time, the agent's processor time, libvirtd's."""
        before = getattr(self, "_last", (0.0, 0.0, 0.0))
        self._last = self._now()
        elapsed, ours, daemon = (b - a for a, b in zip(before, self._last, strict=True))
        return elapsed, ours, daemon


def measure(crowd: Crowd, agent: Agent, *, cycles: int, idle_seconds: float) -> list[Figure]:
    """The crowd is well; the agent is not running before and afterwards, and of no use then.

    :param cycles: of each kind.
    """
    agent.configure(agent={"full_cycles": 1})
    agent.start()
    agent.cycles_ended(2)
    meter = _Meter(crowd, agent)
    spent: dict[str, tuple[float, float, float]] = {}
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
    elapsed, ours, daemon = meter.reset()
    there, there_daemon = ours / elapsed, daemon / elapsed
    agent.stop()

    def of_a_cycle(name: str) -> tuple[float, float]:
        elapsed, ours, daemon = spent[name]
        return (ours - there * elapsed) / cycles, (daemon - there_daemon * elapsed) / cycles

    full, quiet, default = (of_a_cycle(name)[0] for name in ("full", "quiet", "default"))
    # The clock's ticks bound what can be said of a cycle that costs nearly nothing.
    cheaper = full / max(quiet, 1e-4)
    steady = 100 * (there + default / _DEFAULT_INTERVAL_SECONDS)
    rows = [
        Figure(
            f"{label} cycle: processor time of the agent / of libvirtd (ms)",
            f"{of_a_cycle(name)[0] * 1000:.1f} / {of_a_cycle(name)[1] * 1000:.1f}",
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
            f"being there, of {elapsed:.0f} s without a cycle (% of a core)", f"{100 * there:.3f}"
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

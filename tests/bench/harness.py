# SPDX-License-Identifier: Apache-2.0
"""The hang harness: a host full of domains of which some hang, and what a subject makes of it.

    python -m tests.bench.harness                        # our agent, everything, 200 domains
    python -m tests.bench.harness --only hang --check    # exit 1 when a bound is broken
    python -m tests.bench.harness --only hang,nova --subject 'command:virt-top --script -n 1 ...'

One crowd serves all measurements of a run, in this order: ``hang`` (freshness, cycle time,
workers), ``nova`` (what another client feels, while they hang), ``hostile`` (guests that do
worse), ``cost`` (processor time) and ``memory`` (a thousand cycles). The last two need our agent.
Rows are printed as they come, and once more as one table.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import libvirt

from tests.bench import cost, freshness, hostile, memory, neighbour
from tests.bench.crowd import Crowd, Size, crowd
from tests.bench.figures import Figure, broken, table
from tests.bench.subject import Agent, Subject, make
from tests.bench.workers import Watch
from tests.lab.hypervisor import STACKS, Hypervisor

MEASUREMENTS = ("hang", "nova", "hostile", "cost", "memory")


def main() -> int:
    """Run what was chosen; 1 when a bound is broken and ``--check`` asked for it."""
    arguments = _parser().parse_args()
    libvirt.registerErrorHandler(lambda context, error: None, None)
    # So that whoever ends it leaves nothing running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(MEASUREMENTS):
        raise SystemExit(f"no such measurement: {', '.join(sorted(unknown))}")
    size = Size(arguments.domains, arguments.stopped, arguments.hung, arguments.healthy)
    begun = time.monotonic()
    figures: list[Figure] = []
    with (
        _directory(arguments.keep) as directory,
        Hypervisor(arguments.stack) as hypervisor,
        crowd(hypervisor, size, hostile.FILES) as host,
    ):
        _say(f"{size} up after {time.monotonic() - begun:.0f} s")
        for rows in run(host, directory, chosen, arguments):
            print("\n".join(table(rows).splitlines()[2:]), flush=True)
            figures += rows
        versions = hypervisor.versions
    print(
        f"\n{arguments.subject}, {size.domains} domains, {2 * size.domains} disks, "
        f"{os.cpu_count()} cores, libvirt {versions['libvirt']}, QEMU {versions['qemu']}, "
        f"Python {platform.python_version()}, seed {arguments.seed}, "
        f"{time.monotonic() - begun:.0f} s in all\n\n{table(figures)}"
    )
    return 1 if arguments.check and broken(figures) else 0


def run(
    host: Crowd, directory: pathlib.Path, chosen: list[str], arguments: argparse.Namespace
) -> Iterator[list[Figure]]:
    """The rows of each measurement, one after the other."""

    def subject(name: str, period_seconds: int, full_cycles: int) -> Subject:
        one = make(
            arguments.subject,
            host.hypervisor.uri,
            host.names,
            directory / name,
            period_seconds=period_seconds,
            options={"agent": {"full_cycles": full_cycles}},
        )
        started.callback(one.abandon)
        return one

    with contextlib.ExitStack() as started:
        with Watch(host.hypervisor.admin_uri) as watch:
            yield from _beside_those_that_hang(host, subject, watch, chosen, arguments)
        if "cost" in chosen:
            _say("cost")
            agent = _ours(subject("cost", 2, 1))
            with memory.gauge_of(agent) as gauge:
                yield cost.measure(
                    host, agent, cycles=arguments.cost_cycles, idle_seconds=arguments.idle
                )
            yield [memory.figure(gauge, "cost", host.size.domains)]
        if "memory" in chosen:
            _say("memory")
            yield memory.accelerated(
                host.hypervisor.uri, directory / "memory", arguments.memory_cycles
            )


def _beside_those_that_hang(
    host: Crowd,
    subject: Callable[[str, int, int], Subject],
    watch: Watch,
    chosen: list[str],
    arguments: argparse.Namespace,
) -> Iterator[list[Figure]]:
    is_hanging = False
    if "hang" in chosen:
        _say("hang")
        one = subject("hang", arguments.interval, 1)
        with memory.gauge_of(one) as gauge:
            yield freshness.measure(
                host,
                one,
                watch,
                cycles=arguments.cycles,
                kills=arguments.kills,
                seed=arguments.seed,
            )
        yield [memory.figure(gauge, "hang", host.size.domains)]
        is_hanging = True
    if "nova" in chosen:
        if not is_hanging:
            host.stop_hypervisors()
            host.hang()
            is_hanging = True
        _say("nova")
        yield neighbour.measure(
            host,
            subject("nova", arguments.nova_interval, 12),
            pairs=arguments.pairs,
            seconds=arguments.slice,
        )
    if is_hanging:
        host.continue_hypervisors()
        host.recover()
    if "hostile" in chosen:
        _say("hostile")
        yield hostile.measure(
            host, subject("hostile", arguments.interval, 1), watch, cycles=arguments.cycles
        )


@contextlib.contextmanager
def _directory(kept: str | None) -> Iterator[pathlib.Path]:
    if kept is not None:
        yield pathlib.Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="harness-", dir="/var/tmp") as directory:
        yield pathlib.Path(directory)


def _ours(subject: Subject) -> Agent:
    if not isinstance(subject, Agent):
        raise SystemExit("cost and memory are those of our agent; choose others with --only")
    return subject


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    size = Size()
    add("--subject", default="agent", help="agent, command:COMMAND or scrape:URL COMMAND")
    add("--only", default=",".join(MEASUREMENTS), help="some of them, with commas between")
    add("--check", action="store_true", help="exit 1 when a bound is broken")
    add("--stack", choices=STACKS, default="host", help="whose libvirt and QEMU")
    add("--domains", type=int, default=size.domains, help="domains in all")
    add("--stopped", type=int, default=size.stopped, help="QEMUs that are stopped")
    add("--hung", type=int, default=size.hung, help="guests whose agent hangs")
    add("--healthy", type=int, default=size.healthy, help="guests that stay well")
    add("--interval", type=int, default=5, help="seconds from cycle to cycle")
    add("--cycles", type=int, default=12, help="cycles in each situation of hang and hostile")
    add("--kills", type=int, default=6, help="restarts in the middle of something")
    add("--nova-interval", type=int, default=30, help="seconds from cycle to cycle beside Nova")
    add("--pairs", type=int, default=3, help="slices with and without the subject")
    add("--slice", type=float, default=60, help="seconds of each of them")
    add("--cost-cycles", type=int, default=30, help="cycles of each kind that are metered")
    add("--idle", type=float, default=60, help="seconds without a cycle that are metered")
    add("--memory-cycles", type=int, default=1000, help="cycles back to back")
    add("--keep", metavar="DIR", help="leave the logs and states of our agent there")
    add("--seed", type=int, default=1, help="for the moments of the restarts")
    return parser


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())

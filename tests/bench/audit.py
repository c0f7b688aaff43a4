# SPDX-License-Identifier: Apache-2.0
"""What ``audit`` costs beside the bare bulk call over the same domains, in the same run.

    python -m tests.bench.audit --domains 200

Pairs of one bare ``getAllDomainStats(BLOCK)`` and one whole ``nova-diskaudit audit --no-guest``
process are timed in turn, so that a machine whose speed drifts does not favour either. Start-up
is what the same command takes for one domain of the same host. Nothing is judged here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import libvirt

from tests.bench.fleet import fleet
from tests.bench.gauge import largest_of_command
from tests.lab.hypervisor import STACKS, Hypervisor

_TOOL = os.path.join(os.path.dirname(sys.executable), "nova-diskaudit")


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domains", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--stack", choices=STACKS, default="host")
    arguments = parser.parse_args()
    with (
        Hypervisor(arguments.stack) as hypervisor,
        fleet(hypervisor, arguments.domains) as members,
    ):
        figures = measure(hypervisor.uri, members[0].name, arguments.rounds)
        print(table(figures, arguments.domains))


def measure(uri: str, one: str, rounds: int) -> dict[str, list[float]]:
    """Seconds (and MiB of PSS) of each figure, one value a round.

    :raises AssertionError: when an audit did not see every domain of the host.
    """
    connection = libvirt.openReadOnly(uri)
    count = connection.numOfDomains()
    command = [_TOOL, "audit", "--connect", uri, "--no-guest", "--format", "json"]
    figures: dict[str, list[float]] = {
        key: [] for key in ("help", "bare", "start-up", "audit", "ratio", "pss")
    }
    for turn in range(rounds + 1):
        seconds = {
            "help": _timed(lambda: subprocess.run([_TOOL, "--help"], stdout=subprocess.DEVNULL)),
            "bare": _timed(lambda: connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BLOCK)),
            "start-up": _timed(lambda: _audit([*command, "--instance", one], 1)),
            "audit": _timed(lambda: _audit(command, count)),
        }
        if turn == 0:
            continue  # warm-up
        for key, value in seconds.items():
            figures[key].append(value)
        figures["ratio"].append((seconds["audit"] - seconds["start-up"]) / seconds["bare"])
        figures["pss"].append(largest_of_command(command) / 2**20)
    connection.close()
    return figures


def table(figures: dict[str, list[float]], domains: int) -> str:
    """The figures as Markdown: minimum, median and maximum."""
    rows = [
        ("`nova-diskaudit --help`, whole process (s)", "help"),
        ("bare `getAllDomainStats(BLOCK)` (s)", "bare"),
        ("`audit --no-guest --instance ONE`: start-up (s)", "start-up"),
        ("`audit --no-guest` of all, whole process (s)", "audit"),
        ("(audit - start-up) / bare, pair by pair", "ratio"),
        ("process tree at its largest (MiB PSS)", "pss"),
    ]
    lines = [
        f"{domains} domains, {2 * domains} disks, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "",
        "| figure | min | median | max |",
        "|---|---|---|---|",
    ]
    for label, key in rows:
        values = figures[key]
        cells = (min(values), statistics.median(values), max(values))
        lines.append(f"| {label} | " + " | ".join(f"{cell:.3g}" for cell in cells) + " |")
    return "\n".join(lines)


def _timed(work: object) -> float:
    begun = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - begun


def _audit(command: list[str], expected: int) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    instances = json.loads(done.stdout)["instances"]
    complete = [i for i in instances if all(d["libvirt"] for d in i["disks"])]
    assert len(complete) == expected, f"{len(complete)} of {expected} domains have evidence"


if __name__ == "__main__":
    main()

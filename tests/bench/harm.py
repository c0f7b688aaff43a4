# SPDX-License-Identifier: Apache-2.0
"""What another client of libvirt feels while we work beside hung storage and stopped QEMUs.

    python -m tests.bench.harm

A second connection lists all domains in a loop, as ``virsh list`` does: first alone, then while
``audit`` and ``explain`` run again and again, everything well; then the same two with a storage
hung (a stopped FUSE process, one running and one shut-off domain on it) and ten QEMUs stopped.
Milliseconds of its calls, and libvirtd's busy workers at the end. Nothing is judged here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.bench.fleet import fleet
from tests.functional import test_no_harm as harm
from tests.lab.domain import GIB, Disk, Domain
from tests.lab.hypervisor import Hypervisor

_SECONDS = 15.0


def main() -> None:
    """Measure the four situations and print a Markdown table."""
    with (
        Hypervisor("host") as hypervisor,
        fleet(hypervisor, 30) as members,
        harm.hung_storage(hypervisor) as (_, hung),
    ):
        for name, started in (("hung-running", True), ("hung-shutoff", False)):
            disk = Disk("vda", GIB, source=f"mount/{name}.raw")
            harm.start(hypervisor, Domain(name=name, disks=(disk,), started=started))
        rows = [("all well", *_pair(hypervisor, members[0].name))]
        with hung(), _stopped([hypervisor.qemu_pid(m.name) for m in members[:10]]):
            rows.append(("hung storage, 10 QEMUs stopped", *_pair(hypervisor, "hung-shutoff")))
            workers = harm.busy_workers(hypervisor)
    print("| another client's list of domains (ms) | alone p50 / p99 | beside us p50 / p99 |")
    print("|---|---|---|")
    for name, alone, beside in rows:
        print(f"| {name} | {_text(alone)} | {_text(beside)} |")
    print(f"\nworkers of libvirtd held at the end: {workers}")


def _pair(hypervisor: Hypervisor, explained: str) -> tuple[list[float], list[float]]:
    with harm.Lister(hypervisor.uri) as alone:
        time.sleep(_SECONDS)
    with harm.Lister(hypervisor.uri) as beside:
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            _run("audit", "--connect", hypervisor.uri)
            _run("explain", explained, "vda", "--connect", hypervisor.uri)
    return alone.seconds, beside.seconds


def _run(*arguments: str) -> None:
    subprocess.run([harm.TOOL, *arguments], stdout=subprocess.DEVNULL, stderr=sys.stderr)


@contextlib.contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _text(seconds: list[float]) -> str:
    percentiles = statistics.quantiles(seconds, n=100)
    return f"{percentiles[49] * 1000:.2f} / {percentiles[98] * 1000:.2f}"


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What the plugins cost a nova-scheduler, and the central service, with 10,000 hosts.

    python -m tests.bench.scheduler [--hosts N] [--rounds N] [--check]

Nova 34.0.0, in its own Python, runs its own machinery over as many host states; what it takes with
a filter that passes and a weigher that weighs nothing is taken off. The hosts are those of the
central service itself, on SQLite, which the snapshot is read from.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

from tests import reports
from tests.bench.figures import Figure, broken, spread, table
from tests.cloud import environment
from tests.contract.services import Service, central_service
from tests.plugins import inside

_MOST_MICROSECONDS = 20.0
_SCRIPT = pathlib.Path(__file__).with_name("in_scheduler.py")


def _fill(service: Service, hosts: int) -> None:
    """Each with a storage; one in ten is full."""
    for number in range(hosts):
        name = f"compute-{number:05d}"
        free = reports.GIB * (number % 1000) if number % 10 else reports.GIB
        storage = reports.storage(identity=f"local:{name}:8:1", free_bytes=free)
        state = reports.state(name, (reports.instance(name),), storages=(storage,))
        answer = service.send(reports.full(state))
        assert answer.status == 200, answer


def measure(hosts: int, rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        installed = inside.install(place / "installed")
        with central_service(place) as service:
            _fill(service, hosts)
            before = time.process_time()
            words = (str(_SCRIPT), service.url, str(rounds))
            done = inside.run(environment.programs(), installed, *words)
            served = (time.process_time() - before) / rounds
    assert done.returncode == 0, done.stderr
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    assert found["hosts"] == [hosts]

    def a_host(name: str, bare: str) -> list[float]:
        pairs = zip(found[name], found[bare], strict=True)
        return [(cost - without) / hosts * 1e6 for cost, without in pairs]

    filtering, weighing = a_host("filter", "bare_filter"), a_host("weigher", "bare_weigher")
    both = [one + other for one, other in zip(filtering, weighing, strict=True)]
    return [
        Figure("filter, a host", spread(filtering, "us")),
        Figure("weigher, a host", spread(weighing, "us")),
        Figure(
            "both, a host",
            spread(both, "us"),
            f"< {_MOST_MICROSECONDS:g} us",
            statistics.median(both) < _MOST_MICROSECONDS,
            of_time=True,
        ),
        Figure("Nova's DiskWeigher, a host", spread(a_host("novas_weigher", "bare_weigher"), "us")),
        Figure(f"a look at {hosts} hosts, in the background", spread(found["look"], "s")),
        Figure("- processor time of nova-scheduler", spread(found["look_cpu"], "s")),
        Figure("- longest time that another thread waited", spread(found["look_gap"], "s")),
        Figure("- processor time of the central service", f"{served:.3g} s"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="exit status 1 for a broken bound")
    chosen = parser.parse_args()
    figures = measure(chosen.hosts, chosen.rounds)
    print(f"minimum / median / maximum of {chosen.rounds} rounds\n\n{table(figures)}")
    return 1 if chosen.check and broken(figures) else 0


if __name__ == "__main__":
    sys.exit(main())

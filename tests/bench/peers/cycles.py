# SPDX-License-Identifier: Apache-2.0
"""The agent's cycles without the agent's clock: full ones and quiet ones, back to back.

    python -m tests.bench.peers.cycles URI LIBVIRTD-PID FULL QUIET

The same observatory over real lanes, warm: what is told has no start in it that could hide how
the rest grows. One line of JSON: of each kind the seconds of every cycle, and the mean of a
cycle's processor seconds (of this process tree, and of libvirtd); then the memory of the tree.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from nova_diskaudit.agent.observatory import Observatory
from nova_diskaudit.agent.quarantine import Quarantine
from nova_diskaudit.audit.options import Options
from nova_diskaudit.lane.lanes import Lanes
from tests.bench.processes import clock_seconds, pss_bytes, tree

_NEVER = 1_000_000
# An image that was written is not quiet for 2 s.
_SETTLE_SECONDS = 20.0


def metered(work: Callable[[], object], libvirtd: int, times: int) -> dict[str, Any]:
    """Do it so often; the meters of one time."""
    own = tree(os.getpid())
    before = clock_seconds(own), clock_seconds({libvirtd})
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    after = clock_seconds(own | tree(os.getpid())), clock_seconds({libvirtd})
    return {
        "seconds": seconds,
        "client_cpu_seconds": (after[0] - before[0]) / times,
        "libvirtd_cpu_seconds": (after[1] - before[1]) / times,
    }


def main() -> None:
    """See the module's docstring."""
    uri, libvirtd, full, quiet = sys.argv[1], *map(int, sys.argv[2:])
    quarantine = Quarantine(time.monotonic, first_seconds=60, most_seconds=3600)
    with Lanes(uri, state_path=None) as lanes:
        observatory = Observatory(lanes, Options(uri=uri), "bench", quarantine, 1)
        observatory.cycle()
        told = {"full_cycle": metered(observatory.cycle, libvirtd, full)}
        observatory.full_cycles = _NEVER
        until = time.monotonic() + _SETTLE_SECONDS
        while observatory.status.quiet < observatory.status.domains and time.monotonic() < until:
            time.sleep(0.2)
            observatory.cycle()
        told["quiet_cycle"] = metered(observatory.cycle, libvirtd, quiet)
        told["quiet_cycle"]["quiet"] = observatory.status.quiet
        told["full_cycle"]["pss_bytes"] = pss_bytes(tree(os.getpid()))
        json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Memory of a subject: sampled through a run, and over a thousand cycles back to back.

    python -m tests.bench.memory URI STATE_PATH CYCLES

runs cycles one behind the other, as the agent does them but without waiting between: the same
observatory over real lanes, each state written into a real spool that is emptied as if the
central service took it, and both texts rendered. One line each ten cycles: the cycle, and the
bytes of the process tree.
"""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import statistics
import subprocess
import sys
import time
import uuid

from tests.bench.figures import Figure
from tests.bench.gauge import Gauge, gauged
from tests.bench.processes import pss_bytes, tree
from tests.bench.subject import Subject

_MIB = 2**20
_MOST_BYTES = 120 * _MIB
_PERIOD_SECONDS = 2.0
_EACH = 10
_WARM_CYCLES = 100
# What an allocator keeps may still grow by a little; a leak of a byte a domain and cycle would not
# stay below it.
_MOST_GROWTH_BYTES = _MIB
_FULL_CYCLES = 12


def gauge_of(subject: Subject) -> contextlib.AbstractContextManager[Gauge]:
    """Of the process tree of a subject, through a long run."""
    return gauged(lambda: tree(subject.pid), _PERIOD_SECONDS)


def figure(gauge: Gauge, name: str, domains: int) -> Figure:
    """The largest of the run as a row."""
    largest = gauge.largest()
    return Figure(
        f"{name}: process tree at its largest, {len(gauge.samples)} samples, "
        f"{domains} domains (MiB PSS)",
        f"{largest / _MIB:.1f}",
        f"under {_MOST_BYTES // _MIB}",
        bool(gauge.samples) and largest < _MOST_BYTES,
    )


def accelerated(uri: str, state_path: pathlib.Path, cycles: int) -> list[Figure]:
    """Rows about so many cycles back to back."""
    command = [sys.executable, "-m", "tests.bench.memory", uri, str(state_path), str(cycles)]
    begun = time.monotonic()
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    seconds = time.monotonic() - begun
    # Beside the spool, for whoever wants the curve.
    (state_path / "cycles").write_text(said)
    sizes = {int(n): int(size) for n, size in (line.split() for line in said.splitlines())}
    warm = [size for n, size in sizes.items() if n > min(_WARM_CYCLES, cycles // 4)]
    tenth = max(1, len(warm) // 10)
    before, after = statistics.median(warm[:tenth]), statistics.median(warm[-tenth:])
    return [
        Figure(
            f"{cycles} cycles back to back in {seconds:.0f} s: first tenth when warm / last "
            "tenth / largest (MiB PSS)",
            f"{before / _MIB:.2f} / {after / _MIB:.2f} / {max(warm) / _MIB:.2f}",
            f"growth under {_MOST_GROWTH_BYTES / _MIB:g}, in all under {_MOST_BYTES // _MIB}",
            after - before < _MOST_GROWTH_BYTES and max(warm) < _MOST_BYTES,
        )
    ]


def main() -> None:
    """See the module's docstring."""
    from nova_diskaudit import protocol
    from nova_diskaudit.agent.observatory import Observatory
    from nova_diskaudit.agent.quarantine import Quarantine
    from nova_diskaudit.agent.spool import Spool
    from nova_diskaudit.audit.options import Options
    from nova_diskaudit.lane.lanes import Lanes
    from nova_diskaudit.render import as_json, prometheus

    uri, directory, cycles = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    directory.mkdir(parents=True, exist_ok=True)
    options = Options(uri=uri, ask_guests=True, timeout=60.0)
    quarantine = Quarantine(time.monotonic, first_seconds=60, most_seconds=3600)
    spool = Spool(directory)
    with contextlib.closing(spool), Lanes(uri, state_path=directory / "tokens.json") as lanes:
        observatory = Observatory(lanes, options, "bench", quarantine, _FULL_CYCLES)
        root = pathlib.Path("/proc/self").readlink().name
        for number in range(1, cycles + 1):
            report = observatory.cycle()
            assert report is not None
            spool.append(protocol.state_of(report, str(uuid.uuid4())))
            state = spool.oldest()
            assert state is not None
            base = spool.acked()
            now = datetime.datetime.now(datetime.UTC)
            if base is None:
                sent = protocol.full(state, agent=spool.agent, replaces=None, sent_at=now)
            else:
                sent = protocol.delta(base, state, agent=spool.agent, sent_at=now)
            protocol.encode(sent)
            spool.acknowledge(state.id)
            prometheus.render(report)
            as_json.render(report)
            if number % _EACH == 0:
                print(number, pss_bytes(tree(int(root))), flush=True)


if __name__ == "__main__":
    main()

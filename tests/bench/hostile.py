# SPDX-License-Identifier: Apache-2.0
"""Guests that do worse than hang: does the subject's memory grow, does anybody else get stale?"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

from tests.bench.crowd import Crowd, Way
from tests.bench.figures import Figure
from tests.bench.gauge import gauged
from tests.bench.processes import tree
from tests.bench.subject import Subject
from tests.bench.workers import Watch

_MIB = 2**20
# A reply that libvirt passes on (at most 4 MiB) is held once by a lane before it is refused.
_MOST_GROWTH_BYTES = 8 * _MIB

_LIAR = "agent_script /lab/fake-agent /lab/hostile"

_REPLY = '{"return": [{"name": "vdb", "mountpoint": "/m", "type": "ext4", "disk": []}]}'

#: the files of the guests that :data:`WAYS` need
FILES = (
    # 10 MiB and more without an end: libvirt gives up there.
    (
        "/lab/hostile-endless/guest-get-fsinfo.run",
        'printf \'{"return": "\'\nhead -c 11000000 /dev/zero | tr "\\0" x\n',
    ),
    # As much as libvirt passes on to its client.
    (
        "/lab/hostile-huge/guest-get-fsinfo.run",
        "printf '{\"return\": \"'\nhead -c 4000000 /dev/zero | tr '\\0' x\nprintf '\"}\\n'\n",
    ),
    # A byte now and then, for ever.
    ("/lab/hostile-drip/guest-get-fsinfo.run", "while :; do printf ' '; sleep 0.1; done\n"),
    # An answer that begins and never ends.
    ("/lab/hostile-half/guest-get-fsinfo.run", 'printf \'{"return": [{"name": "vdb", \'\n'),
    # Bytes that are no JSON before and behind each answer.
    (
        "/lab/hostile-garbage/guest-get-fsinfo.run",
        "printf '\\377\\000\\n<html>\\n\\033[2J\\n'\n"
        f"echo '{_REPLY}'\n"
        "head -c 65536 /dev/urandom\n",
    ),
    # Answers to questions that nobody asked.
    (
        "/lab/wrong-ids",
        "while :; do\n"
        "    read -r line || { sleep 0.1; continue; }\n"
        '    printf \'\\377{"return": %s}\\n\' "$RANDOM"\n'
        "done\n",
    ),
    # The port opened and closed as fast as it goes.
    ("/lab/storm", 'while :; do : <> "$1"; sleep 0.02; done\n'),
)

WAYS = (
    *(
        Way(f"{name}", "agent_end", f"{_LIAR}-{name}", "agent_end")
        for name in ("endless", "huge", "drip", "half", "garbage")
    ),
    Way("wrong-ids", "agent_end", "agent_script /lab/wrong-ids", "agent_end"),
    Way(
        "storm",
        "agent_end",
        "setsid sh /lab/storm $(port org.qemu.guest_agent.0) > /dev/null 2>&1 < /dev/null &\n"
        "echo $! > /run/agent.pid",
        "agent_end",
        settles=False,
    ),
)


def measure(
    crowd: Crowd, subject: Subject, watch: Watch, *, cycles: int, ways: Sequence[Way] = WAYS
) -> list[Figure]:
    """The crowd is well before and afterwards; the subject is not running in both.

    :param cycles: before, and while the guests are hostile.
    """
    host, guest = crowd.never_touched()
    names = crowd.names
    stale: list[str] = []
    subject.start()
    with gauged(lambda: tree(subject.pid), 0.2) as gauge:
        for _ in range(cycles):
            subject.cycle()
        begun = time.monotonic()
        crowd.hang(ways)
        hostile_at = datetime.datetime.now(datetime.UTC)
        seen = 0
        while seen < cycles:
            cycle = subject.cycle()
            seen += cycle.began >= hostile_at
            stale += [names[uuid] for uuid in host - cycle.host]
            stale += [f"{names[u]}'s guest" for u in guest - (cycle.guest or guest)]
        until = time.monotonic()
    subject.stop()
    crowd.recover()
    before, after = gauge.largest(until=begun), gauge.largest(begun, until)
    held = watch.held(begun, until)
    kinds = min(len(ways), len(crowd.hung))
    return [
        Figure(
            f"{len(crowd.hung)} hostile guests of {kinds} kinds: others not fresh in a cycle",
            f"{len(stale)} in {cycles} cycles" + (f": {', '.join(stale[:5])}" if stale else ""),
            "0",
            not stale,
        ),
        Figure(
            "process tree at its largest, before / with hostile guests (MiB PSS)",
            f"{before / _MIB:.1f} / {after / _MIB:.1f}",
            f"growth under {_MOST_GROWTH_BYTES // _MIB}",
            after - before < _MOST_GROWTH_BYTES,
        ),
        Figure("workers of libvirtd held for a second", str(held), "at most 3", held <= 3),
    ]

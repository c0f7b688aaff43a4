# SPDX-License-Identifier: Apache-2.0
"""A process that does nothing but use a spool, to be killed at any moment.

It says before and after each step what it is about to do and what is done, one line each, so that
who killed it knows what has to be in the file.

    python -m tests.functional.spool_process DIRECTORY SEED
"""

from __future__ import annotations

import os
import pathlib
import random
import sys

from nova_diskaudit.agent.spool import Spool
from tests.contract import reports

# Fewer than are thinned: nothing may be missing for another reason than a kill.
MOST_PENDING = 9


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


def main() -> None:
    spool = Spool(pathlib.Path(sys.argv[1]), now=lambda: reports.NOON)
    rng = random.Random(int(sys.argv[2]))
    say("begins", spool.agent)
    while True:
        if spool.status().depth < MOST_PENDING and rng.random() < 0.6:
            state = reports.state(rng.randrange(40))
            say("appends", state.id)
            spool.append(state)
            say("appended", state.id)
        elif (oldest := spool.oldest()) is not None:
            if rng.random() < 0.1:
                say("rejects", oldest.id)
                spool.reject(oldest.id, "400", b"{}")
                say("rejected", oldest.id)
            else:
                say("acknowledges", oldest.id)
                spool.acknowledge(oldest.id)
                say("acknowledged", oldest.id)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""A process that does nothing but publish states as fast as it can, to be killed at any moment.

    python -m tests.functional.publisher_process CONFIG STATE_PATH SEED

It says ``appended ID`` when a state is safe, and ``empty`` when all are acknowledged. A line on
its standard input ends the making of new states.
"""

from __future__ import annotations

import datetime
import os
import pathlib
import random
import sys
import threading
import uuid

from oslo_config import cfg

from nova_diskaudit import protocol
from nova_diskaudit.agent.publishing import Publishing
from nova_diskaudit.conf import opts
from tests.contract import reports

# Fewer than are thinned, so that each one has to arrive.
MOST_PENDING = 10


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


def main() -> None:
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf(["--config-file", sys.argv[1]], default_config_dirs=[])
    publishing = Publishing(conf, pathlib.Path(sys.argv[2]))
    rng = random.Random(int(sys.argv[3]))
    enough = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), enough.set()), daemon=True).start()
    threading.Thread(target=publishing.run, args=(threading.Event(),), daemon=True).start()
    while not enough.wait(rng.random() * 0.03):
        if publishing.status()[0].depth < MOST_PENDING:
            marks = {number: rng.choice("abc") for number in range(6) if rng.random() < 0.8}
            now = datetime.datetime.now(datetime.UTC)
            id = str(uuid.uuid4())
            publishing.append(protocol.resolved(reports.state(marks, as_of=now)), id)
            say("appended", id)
    while publishing.status()[0].depth:
        enough.wait(0.01)
    spool, _ = publishing.status()
    say("empty", str(spool.dropped + spool.thinned + spool.rejected))
    sys.stdin.readline()


if __name__ == "__main__":
    main()

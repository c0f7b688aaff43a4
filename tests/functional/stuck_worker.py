# SPDX-License-Identifier: Apache-2.0
"""Lanes that stop QEMU after the look at it and before the call: the race no look can win."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from nova_diskaudit.host import blockstats, processes
from nova_diskaudit.lane import forker


def look_and_stop(domain: Any, process: Any, *, look: Any = blockstats.look_first) -> None:
    look(domain, process)
    os.kill(process.pid, signal.SIGSTOP)
    while processes._stat(process.pid)[0] != "T":
        time.sleep(0.001)


if __name__ == "__main__":
    blockstats.look_first = look_and_stop
    forker.main(sys.argv[1])

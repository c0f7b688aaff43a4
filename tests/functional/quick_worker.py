# SPDX-License-Identifier: Apache-2.0
"""Lanes to which a write has settled after some ticks of the kernel, not after two seconds.

With a first argument ``blind`` they do not find libvirt's own records either.
"""

from __future__ import annotations

import sys

from nova_diskaudit.host import statusfile
from nova_diskaudit.host.storage import signature
from nova_diskaudit.lane import forker

if __name__ == "__main__":
    signature._SETTLED_NANOSECONDS = 50_000_000
    if sys.argv[1] == "blind":
        statusfile.DIRECTORY = "/nonexistent"
    forker.main(sys.argv[-1])

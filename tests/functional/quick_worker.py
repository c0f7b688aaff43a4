# SPDX-License-Identifier: Apache-2.0
"""Lanes to which a write has settled after some ticks of the kernel, not after two seconds."""

from __future__ import annotations

import sys

from nova_diskaudit.host.storage import signature
from nova_diskaudit.lane import forker

if __name__ == "__main__":
    signature._SETTLED_NANOSECONDS = 50_000_000
    forker.main(sys.argv[1])

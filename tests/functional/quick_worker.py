# SPDX-License-Identifier: Apache-2.0
"""A lane to which a write has settled after some ticks of the kernel, not after two seconds."""

from __future__ import annotations

import sys

from nova_diskaudit.host.storage import signature
from nova_diskaudit.lane import worker

if __name__ == "__main__":
    signature._SETTLED_NANOSECONDS = 50_000_000
    worker.main(sys.argv[1], sys.argv[2])

# SPDX-License-Identifier: Apache-2.0
"""When the next cycle begins: on a grid of intervals that has a phase of its own on each host."""

from __future__ import annotations

import zlib

# Without an inventory there is nothing to wait an interval for: libvirt is being restarted.
_RETRY_SECONDS = 15.0


def seconds_to_next(
    host: str, *, since_first: float, interval: float, failed: bool = False
) -> float:
    """Seconds from now to the next cycle.

    The first cycle begins with the service, at ``since_first`` = 0; the grid begins ``phase``
    after it. A cycle that took longer than an interval skips the ticks that it missed.
    """
    phase = zlib.crc32(host.encode("utf-8", "surrogateescape")) / 2**32 * interval
    left = interval - (since_first - phase) % interval
    return min(left, _RETRY_SECONDS) if failed else left

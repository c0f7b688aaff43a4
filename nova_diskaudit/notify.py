# SPDX-License-Identifier: Apache-2.0
"""Words to the service manager: ``sd_notify(3)`` and ``sd_watchdog_enabled(3)``, by a datagram."""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Callable, Mapping

LOG = logging.getLogger(__name__)

_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
_SECONDS = 1.0


def notifier(environment: Mapping[str, str]) -> Callable[[str], None]:
    """The function that tells the manager, such as ``"READY=1"``; silent when there is none.

    It never raises, and waits a second at most: a deaf manager is no reason to stop.
    """
    where = environment.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")) or len(where) < 2:
        return lambda words: None
    address: str | bytes = where
    if where.startswith("@"):  # an abstract socket
        address = b"\0" + os.fsencode(where[1:])

    def tell(words: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_SECONDS)
                sender.connect(address)
                sender.sendall(words.encode("utf-8", "replace"))
        except OSError as error:
            LOG.warning("The service manager was not told: %s", error)

    return tell


def notify(words: str) -> None:
    """Tell the manager of this process."""
    notifier(os.environ)(words)


def status(text: str) -> str:
    """One line for ``systemctl status``."""
    return "STATUS=" + " ".join(text.split())


def reloading() -> str:
    """What a reload begins with; it ends with ``READY=1``."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life (``WATCHDOG=1``): half of what the manager allows.

    None when it wants none, or wants them from another process.
    """
    wanted = environment.get("WATCHDOG_USEC", "")
    if not _DIGITS.fullmatch(wanted) or int(wanted) == 0:
        return None
    if environment.get("WATCHDOG_PID") not in (None, "", str(os.getpid())):
        return None
    return int(wanted) / 2e6

# SPDX-License-Identifier: Apache-2.0
"""The signals that a service is sent."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Collection

Inbox = queue.SimpleQueue[signal.Signals]


def listen(signals: Collection[signal.Signals]) -> Inbox:
    """From now on these signals do nothing but come into this queue. Call it before any thread is
    started: threads and children inherit that they are not interrupted.

    Not ``signal.sigtimedwait``: when a process was stopped for longer than it wanted to wait (by
    Ctrl-Z, a debugger, the freezer of a container), it begins to wait anew after ``EINTR``, sees
    that the time is over, and tells a signal that nobody sent, out of memory that was never
    written (CPython 3.11, ``Modules/signalmodule.c``).
    """
    wanted = frozenset(signals)
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    inbox: Inbox = queue.SimpleQueue()

    def hear() -> None:
        while True:
            inbox.put(signal.Signals(signal.sigwait(wanted)))

    threading.Thread(target=hear, name="signals", daemon=True).start()
    return inbox


def wait(inbox: Inbox, seconds: float) -> signal.Signals | None:
    """The first signal that came; None when none did in time."""
    try:
        return inbox.get(timeout=seconds)
    except queue.Empty:
        return None

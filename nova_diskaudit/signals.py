# SPDX-License-Identifier: Apache-2.0
"""The signal that a service waits for."""

from __future__ import annotations

import signal
from collections.abc import Collection


def wait(signals: Collection[signal.Signals], seconds: float) -> signal.Signals | None:
    """The first of these signals, all of them blocked by every thread; None when none came in time.

    A process that was stopped for longer than it wanted to wait (by Ctrl-Z, a debugger, the
    freezer of a container) gets a signal with the number 0 from ``signal.sigtimedwait``: it begins
    to wait anew after ``EINTR``, sees that the time is over, and tells what was never filled in
    (CPython 3.11, ``Modules/signalmodule.c``).
    """
    received = signal.sigtimedwait(signals, seconds)
    if received is None or received.si_signo == 0:
        return None
    return signal.Signals(received.si_signo)

# SPDX-License-Identifier: Apache-2.0
"""One line on a terminal that tells what takes so long, and is gone afterwards."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import TextIO

PATIENCE_SECONDS = 1.0
REPAINT_SECONDS = 0.2


@contextlib.contextmanager
def line(stream: TextIO | None) -> Iterator[Callable[[str, int, int], None] | None]:
    """Give a callback ``(phase, done, total)`` whose last word is shown on ``stream``.

    Nothing is shown during the first second. A thread repaints, because the sweep may be silent
    just when something hangs. Without a terminal there is no callback (None) and no thread.
    """
    if stream is None or not stream.isatty():
        yield None
        return
    news = ["starting"]
    finished = threading.Event()

    def told(phase: str, done: int, total: int) -> None:
        news[0] = f"{phase} {done}/{total}" if total else phase

    painter = threading.Thread(
        target=_paint, args=(stream, news, finished), name="progress", daemon=True
    )
    painter.start()
    try:
        yield told
    finally:
        finished.set()
        painter.join()


def _paint(stream: TextIO, news: list[str], finished: threading.Event) -> None:
    shown = 0
    pause = PATIENCE_SECONDS
    # A terminal that went away is no reason to stop an audit.
    with contextlib.suppress(OSError):
        while not finished.wait(pause):
            pause = REPAINT_SECONDS
            text = news[0][: shutil.get_terminal_size().columns - 1]
            stream.write("\r" + text.ljust(shown))
            stream.flush()
            shown = len(text)
        if shown:
            stream.write("\r" + " " * shown + "\r")
            stream.flush()

# SPDX-License-Identifier: Apache-2.0
"""Writing to standard output, which may be closed, full, or narrower than Unicode."""

from __future__ import annotations

import os
import sys


class WriteError(Exception):
    """Standard output cannot be written; the message says why."""


class ClosedError(Exception):
    """Whoever read standard output has gone, as ``head`` does. No reason to complain."""


def write(text: str) -> None:
    """Print ``text`` now, while an error can still be told.

    What the encoding cannot express is escaped.
    """
    if sys.stdout is None:
        raise WriteError("standard output is closed: redirect it to a file or /dev/null")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _give_up(error)


def _give_up(error: OSError) -> None:
    # Python flushes once more when it exits and would complain again: give it a sink.
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.close(sink)
    if isinstance(error, BrokenPipeError):
        raise ClosedError from error
    raise WriteError(f"cannot write to standard output: {error.strerror}") from error


def is_terminal() -> bool:
    """Whether a person looks at it right now."""
    return sys.stdout is not None and sys.stdout.isatty()


def wants_color() -> bool:
    """Colour only on a terminal that can, and not with NO_COLOR (any value but the empty one)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

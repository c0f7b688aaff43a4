# SPDX-License-Identifier: Apache-2.0
"""The lock of a run's directory, which dies with its owner: what it left behind is then found."""

import fcntl
import os
import pathlib


def take(directory: pathlib.Path, *, make: bool) -> int:
    """A descriptor that holds the directory's lock, or -1 when a living run holds it."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0)
    try:
        descriptor = os.open(directory / "lock", flags, 0o600)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return -1
    return descriptor

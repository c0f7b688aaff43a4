# SPDX-License-Identifier: Apache-2.0
"""Runs ``openstack``, in a pipe or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Mapping
from typing import NamedTuple

PROGRAM = pathlib.Path(sys.executable).with_name("openstack")
SECONDS = 120


class Done(NamedTuple):
    """What became of it."""

    status: int
    out: str
    err: str


def openstack(*words: str, env: Mapping[str, str] | None = None) -> Done:
    """Run it without any configuration but ``env``."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [PROGRAM, *words],
            env=_environ(home, env or {}),
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        left = {path.name for path in pathlib.Path(home).iterdir()}
    assert "pwned" not in left
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def on_terminal(
    *words: str, env: Mapping[str, str] | None = None, columns: int = 100, encoding: str = "utf-8"
) -> str:
    """What it shows on a terminal so wide, errors too."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    seen = b""
    with tempfile.TemporaryDirectory() as home:
        names = {**_environ(home, env or {}), "TERM": "xterm", "PYTHONIOENCODING": encoding}
        process = subprocess.Popen(
            [PROGRAM, *words], env=names, cwd=home, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        # Linux says EIO when the last writer has gone.
        with contextlib.suppress(OSError):
            while data := os.read(ours, 65536):
                seen += data
        os.close(ours)
        process.wait(SECONDS)
    return seen.decode(encoding).replace("\r\n", "\n")


def _environ(home: str, env: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8", **env}


def evaluated(assignments: str, name: str) -> str:
    """What a shell's variable holds that has evaluated ``-f shell``."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            ["sh", "-c", f'eval "$1"; printf %s "${name}"', "sh", assignments],
            cwd=home,
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
        assert not any(pathlib.Path(home).iterdir())
    return done.stdout.decode()

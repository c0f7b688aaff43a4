# SPDX-License-Identifier: Apache-2.0
"""A peer that is a library: a process of its own, with one connection, that looks when it is told.

The process looks once for each line of its standard input, and prints what it has found line by
line; an empty line ends a look.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import subprocess
import time
from collections.abc import Sequence

from tests.bench.peers.peer import PATIENCE_SECONDS, Look, PeerError, end_tree
from tests.bench.processes import tree


class Told:
    """The part that such peers share; ``start`` calls :meth:`begin`."""

    used: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    def begin(self, command: Sequence[str], directory: pathlib.Path) -> None:
        """Start the process, and let it look once, so that all is loaded.

        :raises PeerError: when it did not.
        """
        log = directory / "errors"
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        first = self.look()
        if first.trouble:
            self.stop()
            said = log.read_text(errors="replace").strip().splitlines()
            raise PeerError(f"{first.trouble}: {said[-1] if said else ''}")

    def look(self, patience: float = PATIENCE_SECONDS) -> Look:
        assert self._process is not None
        assert self._process.stdin is not None and self._process.stdout is not None
        output = self._process.stdout.fileno()
        begun = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"look\n")
            self._process.stdin.flush()
        said = bytearray()
        trouble = ""
        while not said.endswith(b"\n\n"):
            left = begun + patience - time.monotonic()
            if left <= 0 or not select.select([output], [], [], left)[0]:
                trouble = f"no end within {patience:g} s"
                break
            part = os.read(output, 1 << 20)
            if not part:
                trouble = "ended by itself"
                break
            said += part
        whole = said[: said.rfind(b"\n") + 1]
        seconds = time.monotonic() - begun
        return Look(whole.decode(errors="replace").strip("\n"), seconds, None, 1, trouble)

    def pids(self) -> set[int]:
        return tree(self._process.pid) if self._process is not None else set()

    def stop(self) -> None:
        if self._process is not None:
            end_tree(self._process)
            assert self._process.stdin is not None and self._process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.stdout.close()
            self._process = None

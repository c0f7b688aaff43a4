# SPDX-License-Identifier: Apache-2.0
"""A client of libvirt that does what nova-compute and an operator's ``virsh`` do, and times it.

    python -m tests.bench.nova URI UUID... > calls

A process of its own, so that nothing of the benchmark stands in its way. Until its standard
input ends it lists all domains, and looks up, describes (``dumpxml``) and asks the state
(``domstats --state``) of one domain after the other, chosen at random, with a short pause after
each round. One line a call: when it began (``time.monotonic``) and the seconds that it took.
"""

from __future__ import annotations

import contextlib
import random
import select
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable
from typing import Self

import libvirt

_PAUSE_SECONDS = 0.01
_STATE = libvirt.VIR_DOMAIN_STATS_STATE


def main() -> None:
    uri, *uuids = sys.argv[1:]
    connection = libvirt.open(uri)
    choose = random.Random(0)
    while not select.select([sys.stdin], [], [], _PAUSE_SECONDS)[0]:
        uuid = choose.choice(uuids)
        _timed(connection.listAllDomains)
        domain = _timed(lambda uuid=uuid: connection.lookupByUUIDString(uuid))
        _timed(lambda domain=domain: domain.XMLDesc(0))
        _timed(lambda domain=domain: connection.domainListGetStats([domain], _STATE))
    connection.close()


def _timed(call: Callable[[], object]) -> object:
    begun = time.monotonic()
    answer = call()
    print(f"{begun:.6f} {time.monotonic() - begun:.6f}")
    return answer


class Nova:
    """The client, running for the length of a block; :attr:`calls` afterwards."""

    def __init__(self, uri: str, uuids: Iterable[str]) -> None:
        self._command = [sys.executable, "-m", "tests.bench.nova", uri, *uuids]
        self._end = contextlib.ExitStack()
        #: when each call began, and the seconds that it took
        self.calls: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        # A file, because a pipe that nobody reads would stop it.
        self._said = self._end.enter_context(tempfile.TemporaryFile("w+"))
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=self._said)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        with self._end:
            self._process.communicate(timeout=60)
            assert self._process.returncode == 0, "the client that plays Nova failed"
            self._said.seek(0)
            for line in self._said:
                begun, seconds = line.split()
                self.calls.append((float(begun), float(seconds)))

    def seconds(self, slices: Iterable[tuple[float, float]]) -> list[float]:
        """What the calls took that began within one of the slices."""
        chosen = list(slices)
        return [took for begun, took in self.calls if any(a <= begun < b for a, b in chosen)]


if __name__ == "__main__":
    main()

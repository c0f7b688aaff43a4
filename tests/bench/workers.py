# SPDX-License-Identifier: Apache-2.0
"""libvirtd's workers, watched for a whole run: how many of them are held by calls that hang.

    python -m tests.bench.workers ADMIN-URI

prints, until its standard input ends, one line every 50 ms: the time (``time.monotonic``) and the
number of busy workers, or ``-`` while there is no daemon.

The numbers are those of ``virt-admin srv-threadpool-info libvirtd``, read through the library
behind it, since a process every 50 ms would load the machine more than what is measured. One
process for all of it, because that library and libvirt-python do not bear each other in one.

A busy worker is not yet a pinned one: it may serve a short call, ours or another client's. What
tells them apart is duration. *Held* is the smallest number of busy workers among all samples of
a window of one second: every call that lasted through the window is counted in each of them, so
calls that hang are never missed; short calls count only if as many of them were under way at
each of some twenty moments in a row, so the number may be too large, never too small. A call
to a guest agent that takes longer than the window counts as well, as it should.

A daemon that is being restarted has no workers: the sample is absent, and no window spans it.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import select
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Sequence
from typing import Self

PERIOD_SECONDS = 0.05
WINDOW_SECONDS = 1.0
_FEWEST_SAMPLES = 5
_NAME_BYTES = 80  # VIR_TYPED_PARAM_FIELD_LENGTH


class _Value(ctypes.Union):
    _fields_ = (("unsigned", ctypes.c_uint), ("widest", ctypes.c_ulonglong))


class _Parameter(ctypes.Structure):
    """``virTypedParameter`` of libvirt's libvirt-common.h."""

    _fields_ = (
        ("field", ctypes.c_char * _NAME_BYTES),
        ("type", ctypes.c_int),
        ("value", _Value),
    )


class AdminError(RuntimeError):
    """The daemon does not answer its administrator."""


class Admin:
    """A connection to a daemon's administrative socket; closed by :meth:`close`."""

    def __init__(self, uri: str, server: str = "libvirtd") -> None:
        self._library = ctypes.CDLL("libvirt-admin.so.0")
        self._common = ctypes.CDLL("libvirt.so.0")
        for function in ("virAdmConnectOpen", "virAdmConnectLookupServer"):
            getattr(self._library, function).restype = ctypes.c_void_p
        self._server: int | None = None
        self._connection = self._library.virAdmConnectOpen(uri.encode(), 0)
        if not self._connection:
            raise AdminError(f"no connection to {uri}")
        self._server = self._library.virAdmConnectLookupServer(
            ctypes.c_void_p(self._connection), server.encode(), 0
        )
        if not self._server:
            self.close()
            raise AdminError(f"{uri} has no server {server}")

    def busy(self) -> int:
        """Ordinary workers that serve a call now."""
        parameters = ctypes.POINTER(_Parameter)()
        count = ctypes.c_int()
        failed = self._library.virAdmServerGetThreadPoolParameters(
            ctypes.c_void_p(self._server), ctypes.byref(parameters), ctypes.byref(count), 0
        )
        if failed:
            raise AdminError("no answer about the workers")
        numbers = {p.field.decode(): p.value.unsigned for p in parameters[: count.value]}
        self._common.virTypedParamsFree(parameters, count)
        return int(numbers["nWorkers"]) - int(numbers["freeWorkers"])

    def close(self) -> None:
        if self._server:
            self._library.virAdmServerFree(ctypes.c_void_p(self._server))
        self._library.virAdmConnectClose(ctypes.c_void_p(self._connection))


@dataclasses.dataclass(frozen=True)
class Sample:
    """At ``at`` (of ``time.monotonic``) so many workers were busy; None: there was no daemon."""

    at: float
    busy: int | None


def main() -> None:
    """See the module's docstring."""
    admin: Admin | None = None
    while not select.select([sys.stdin], [], [], PERIOD_SECONDS)[0]:
        busy: int | None = None
        try:
            if admin is None:
                admin = Admin(sys.argv[1])
            busy = admin.busy()
        except AdminError:
            if admin is not None:
                admin.close()
                admin = None
        print(f"{time.monotonic():.6f} {'-' if busy is None else busy}", flush=True)


class Watch:
    """The workers, sampled for the length of a block, through restarts of the daemon."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._end = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._said = self._end.enter_context(tempfile.TemporaryFile("w+"))
        self._errors = self._end.enter_context(tempfile.TemporaryFile("w+"))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.workers", self._uri],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=self._errors,  # libvirt says there that the daemon is gone
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        with self._end:
            self._process.communicate(timeout=10)
            if self._process.returncode != 0:
                self._errors.seek(0)
                raise AdminError(f"the workers were not watched: {self._errors.read()}")

    def _read(self) -> list[Sample]:
        """What was sampled so far, by a descriptor of our own: theirs has the place to write."""
        with open(f"/proc/self/fd/{self._said.fileno()}", encoding="ascii") as said:
            lines = [line.split() for line in said if line.endswith("\n")]
        return [Sample(float(at), None if busy == "-" else int(busy)) for at, busy in lines]

    def held(
        self,
        since: float = 0.0,
        until: float = float("inf"),
        without: Sequence[tuple[float, float]] = (),
    ) -> int:
        """The most workers that were held at the same time, see the module's docstring.

        :param without: when others kept workers busy; no window reaches into these spans.
        :raises AdminError: when nothing was sampled, so that nothing can be said.
        """
        samples = [
            Sample(s.at, None) if any(begin <= s.at <= end for begin, end in without) else s
            for s in self._read()
            if since <= s.at <= until
        ]
        if not any(s.busy is not None for s in samples):
            raise AdminError("the workers were not watched")
        return most_held(samples)

    def busiest(self) -> int:
        """The most workers that were busy at one moment, short calls included."""
        return max((s.busy for s in self._read() if s.busy is not None), default=0)


def most_held(samples: list[Sample], seconds: float = WINDOW_SECONDS) -> int:
    """The largest of the windows' smallest numbers; a window holds at least five samples."""
    most = 0
    begin = 0
    for end, last in enumerate(samples):
        if last.busy is None:
            begin = end + 1
            continue
        while begin < end and last.at - samples[begin].at > seconds + PERIOD_SECONDS:
            begin += 1
        window = samples[begin : end + 1]
        # A stalled observer proves nothing: too few samples are no evidence of duration.
        if len(window) >= _FEWEST_SAMPLES and last.at - window[0].at >= seconds - PERIOD_SECONDS:
            most = max(most, min(s.busy for s in window if s.busy is not None))
    return most


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""A server process that cannot outlive its test.

It is the first process of a PID namespace (and nobody, if it can be): when it ends, the kernel ends
all that it started. Each process of the chain asks the kernel to be killed with its parent, so a
run that is killed leaves no process behind.

The kernel takes the *thread* that started the server for the parent: start it in one that lives as
long as the server shall.
"""

import argparse
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from typing import ClassVar

from tests.services.place import Place, ServiceError, run

#: nobody, nogroup: the same on every Debian
NOBODY = (65534, 65534)
_STARTS = 3


class PortTaken(ServiceError):
    """Somebody was quicker to use the port."""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Daemon(Place):
    """One server; a subclass says how it is made, started and found to be well.

    ``start`` and ``stop`` frame its life. In between, ``kill`` or ``terminate`` end the process
    and ``resume`` starts it again over the same data, at the same address.
    """

    OWNER: ClassVar[tuple[int, int]] = NOBODY
    #: the signal that asks the server to end in order
    GENTLY: ClassVar[signal.Signals] = signal.SIGTERM
    #: seconds within which it has to answer
    PATIENCE: ClassVar[float] = 60

    def __init__(self, *, disk_mib: int | None = None) -> None:
        super().__init__(disk_mib=disk_mib)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    # --- what a subclass says ---------------------------------------------------------------

    def prepare(self) -> None:
        """Make what the server needs, in ``directory``; called once."""

    def command(self) -> list[str]:
        """The server's command line, listening on ``port``."""
        raise NotImplementedError

    def environ(self) -> Mapping[str, str]:
        """Further variables of the server's environment."""
        return {}

    def is_ready(self) -> bool:
        """Whether it answers as it should."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def populate(self) -> None:
        """Put into the running server what everybody expects there; called once."""

    # --- its life ---------------------------------------------------------------------------

    @property
    def log(self) -> pathlib.Path:
        """What the server says."""
        return self.directory / "log"

    @property
    def pid(self) -> int:
        """The server's first process.

        :raises ServiceError: when it is not running.
        """
        if self._process is None or self._process.poll() is not None:
            raise ServiceError(f"{self.NAME} is not running")
        outer = self._process.pid
        children = pathlib.Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
        if not children:
            raise ServiceError(f"{self.NAME} is ending")
        return int(children[0])

    def start(self) -> None:
        super().start()
        try:
            self.prepare()
            for left in reversed(range(_STARTS)):
                self.port = free_port()
                try:
                    self.resume()
                    break
                except PortTaken:
                    if not left:
                        raise
            self.populate()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it and remove its directory."""
        self.kill()
        super().stop()

    def resume(self) -> None:
        """Start the process over the data that are there.

        :raises PortTaken: when the port is used by another process.
        :raises ServiceError: when it ends, or does not answer in time.
        """
        assert self._process is None, "it is running"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*caged(self.OWNER), *self.command()],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "LC_ALL": "C.UTF-8",
                    "HOME": str(self.directory),
                    "TZ": "UTC",
                    **self.environ(),
                },
            )
        try:
            self._await_ready()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL to all of it at once, as the kernel does it when memory is out."""
        if self._process is None:
            return
        # The outer process is told of the server's end when nothing is left of the namespace.
        try:
            os.kill(self.pid, signal.SIGKILL)
        except (ServiceError, ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._process = None

    def terminate(self, seconds: float = 30) -> None:
        """Ask it to end, and wait.

        :raises ServiceError: when it does not; it is killed then.
        """
        if self._process is None:
            return
        os.kill(self.pid, self.GENTLY)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServiceError(f"{self.NAME} did not end within {seconds:.0f} s") from None
        self._process = None

    def tail(self) -> str:
        """The end of the server's log."""
        return self.log.read_text(errors="replace")[-3000:]

    def _await_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self.PATIENCE
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                said = self.tail()
                taken = "address already in use" in said.lower()
                raise (PortTaken if taken else ServiceError)(f"{self.NAME} ended:\n{said}")
            if self.is_ready():
                return
            time.sleep(0.05)
        raise ServiceError(
            f"no answer within {self.PATIENCE:.0f} s from {self.NAME}:\n{self.tail()}"
        )


def caged(owner: tuple[int, int]) -> list[str]:
    """What comes before a command that shall not outlive this thread: see the docstring above."""
    kill = ["--pdeathsig", "KILL"]
    user = [f"--reuid={owner[0]}", f"--regid={owner[1]}", "--clear-groups"] if any(owner) else []
    outer = ["setpriv", *kill, "--", "unshare", "--pid", "--fork", "--kill-child", "--"]
    # Changing the user makes the kernel forget the parent's death signal, hence once more.
    return [*outer, "setpriv", *user, *kill, "--"]


def run_as_nobody(*command: str) -> str:
    """Run a command to its end, and return what it prints.

    :raises ServiceError: when it fails, with what it said.
    """
    return run(*caged(NOBODY), *command)


def present(server: Place, *lines: str) -> None:
    """Tell a person about a running server, and keep it until the shell that opens ends."""
    print(f"{server.NAME} in {server.directory}", *lines, sep="\n")
    subprocess.run([os.environ.get("SHELL", "sh")], check=False)


def no_arguments(description: str | None) -> None:
    """For the ``main`` of servers that have nothing to choose."""
    argparse.ArgumentParser(description=description).parse_args()

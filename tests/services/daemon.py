# SPDX-License-Identifier: Apache-2.0
"""A server process that cannot outlive its test, in a directory that goes with it.

The server is the first process of a PID namespace (and nobody, if it can be): when it ends, the
kernel ends all that it started. Each process of the chain asks the kernel to be killed with its
parent, so a run that is killed leaves no process behind, only its directory. The next start finds
that one by its lock, which died with its owner, and removes it.

The kernel takes the *thread* that started the server for the parent: start it in one that lives as
long as the server shall.
"""

import argparse
import contextlib
import fcntl
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import time
import types
from collections.abc import Mapping
from typing import ClassVar, Self

#: nobody, nogroup: the same on every Debian
UID = GID = 65534
_STARTS = 3


class ServiceError(RuntimeError):
    """A server could not be started, or did not do what it was told."""


class PortTaken(ServiceError):
    """Somebody was quicker to use the port."""


def root() -> pathlib.Path:
    """Where the directories are made. Short, for the path of a unix socket ends at 107 bytes."""
    given = os.environ.get("NOVA_DISKAUDIT_SERVICES_ROOT")
    return pathlib.Path(given or "/var/tmp/nova-diskaudit-services")


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Daemon:
    """One server; a subclass says how it is made, started and found to be well.

    ``start`` and ``stop`` frame its life. In between, ``kill`` or ``terminate`` end the process
    and ``resume`` starts it again over the same data, at the same address.
    """

    #: what the directory's name begins with
    NAME: ClassVar[str]
    #: the signal that asks the server to end in order
    GENTLY: ClassVar[signal.Signals] = signal.SIGTERM
    #: whether it runs as nobody
    UNPRIVILEGED: ClassVar[bool] = True
    #: seconds within which it has to answer
    PATIENCE: ClassVar[float] = 60

    def __init__(self, *, disk_mib: int | None = None) -> None:
        """:param disk_mib: give the data a file system of this size of its own, to be filled up."""
        self.directory = pathlib.Path()
        self.port = 0
        self._disk_mib = disk_mib
        self._lock = -1
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.stop()

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
    def data(self) -> pathlib.Path:
        """Where the server keeps its data."""
        return self.directory / "data"

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
        if self._lock >= 0:
            raise ServiceError(f"{self.directory} is already running")
        if os.geteuid() != 0:
            raise ServiceError("needs root, to start servers without privileges")
        sweep()
        self._make_directory()
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

    def resume(self) -> None:
        """Start the process over the data that are there.

        :raises PortTaken: when the port is used by another process.
        :raises ServiceError: when it ends, or does not answer in time.
        """
        assert self._process is None, "it is running"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_caged(self.UNPRIVILEGED), *self.command()],
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
        if self._process is not None:
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

    def stop(self) -> None:
        """End it and remove its directory."""
        if self._lock < 0:
            return
        self.kill()
        _remove(self.directory)
        os.close(self._lock)
        self._lock = -1

    def fill_disk(self) -> None:
        """Leave not a byte free on the file system that ``disk_mib`` made."""
        assert self._disk_mib is not None, "made without disk_mib"
        filler = os.open(self.data / "filler", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            for size in (2**20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        os.write(filler, b"\0" * size)
        finally:
            os.close(filler)

    def free_disk(self) -> None:
        """Take back what ``fill_disk`` did."""
        (self.data / "filler").unlink()

    def tail(self) -> str:
        """The end of the server's log."""
        return self.log.read_text(errors="replace")[-3000:]

    def _make_directory(self) -> None:
        # It gets its name when it is locked: a sweep by another run takes the rest for left-overs.
        name = f"{self.NAME}-{secrets.token_hex(4)}"
        fresh = root() / f".{name}"
        fresh.mkdir(parents=True, mode=0o755)
        self._lock = _take_lock(fresh, make=True)
        self.directory = fresh.rename(root() / name)
        owner = (UID, GID) if self.UNPRIVILEGED else (0, 0)
        os.chown(self.directory, *owner)
        self.data.mkdir(mode=0o700)
        if self._disk_mib is not None:
            options = f"size={self._disk_mib}m,mode=700"
            run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.data))
        os.chown(self.data, *owner)

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


def _caged(unprivileged: bool) -> list[str]:
    """What comes before a server's command: see the module's docstring."""
    kill = ["--pdeathsig", "KILL"]
    user = [f"--reuid={UID}", f"--regid={GID}", "--clear-groups"] if unprivileged else []
    outer = ["setpriv", *kill, "--", "unshare", "--pid", "--fork", "--kill-child", "--"]
    # Changing the user makes the kernel forget the parent's death signal, hence once more.
    return [*outer, "setpriv", *user, *kill, "--"]


def run(*command: str, unprivileged: bool = False, environ: Mapping[str, str] = {}) -> str:
    """Run a command to its end, and return what it prints.

    :raises ServiceError: when it fails, with what it said.
    """
    done = subprocess.run(
        [*(_caged(True) if unprivileged else ()), *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=os.environ | {"LC_ALL": "C.UTF-8"} | environ,
    )
    if done.returncode:
        raise ServiceError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def sweep() -> None:
    """Remove the directories that killed runs have left behind."""
    if not root().is_dir():
        return
    for directory in root().glob("[!.]*"):
        lock = _take_lock(directory, make=False)
        if lock >= 0:
            _remove(directory)
            os.close(lock)


def _take_lock(directory: pathlib.Path, *, make: bool) -> int:
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


def _remove(directory: pathlib.Path) -> None:
    """Unmount and remove. The caller holds the lock, and no process is left."""
    data = directory / "data"
    if data.is_mount():
        run("umount", "--lazy", str(data))
    shutil.rmtree(directory)


def present(server: Daemon, *lines: str) -> None:
    """Tell a person about a running server, and keep it until the shell that opens ends."""
    print(f"{server.NAME} in {server.directory}", *lines, sep="\n")
    subprocess.run([os.environ.get("SHELL", "sh")], check=False)


def no_arguments(description: str | None) -> None:
    """For the ``main`` of servers that have nothing to choose."""
    argparse.ArgumentParser(description=description).parse_args()

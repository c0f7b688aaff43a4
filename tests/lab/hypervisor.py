# SPDX-License-Identifier: Apache-2.0
"""A private libvirtd that cannot touch the machine's own guests.

    with Hypervisor('host') as hypervisor:
        connection = libvirt.open(hypervisor.uri)

``stack`` is ``host`` (the machine's own libvirt and QEMU) or ``trixie`` (Debian 13's, in a
chroot that is bootstrapped once and cached).

The daemon runs in a mount namespace in which every directory that libvirt writes to
(``/etc/libvirt``, ``/run/libvirt``, ``/var/lib/libvirt``, ...) is a directory of this instance.
So it cannot see a domain, a socket or a network of the machine, and its cgroup support is off.
QEMU runs as root, without security driver, and without a mount namespace of its own.

``workdir`` is for images. It has the same absolute path inside and outside the namespace and the
chroot, and a mount made below it after the start is seen by QEMU as well.

The daemon can be killed and started again under its living QEMUs.

Whatever runs in the namespace belongs to the instance and is killed with it. A run that was
killed leaves its directory behind; the next start finds it by its lock, which died with its
owner, and ends what is left of it.

Needs root and Linux. Imports nothing but the standard library.
"""

import argparse
import contextlib
import os
import pathlib
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import time
import types
from typing import Self

from tests.lab import chroot, lock

STACKS = ("host", "trixie")

#: what libvirt writes to, and the instance's directory that lies over it
_PRIVATE = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}

# Without stdio_handler=file a virtlogd would be needed. remember_owner and the namespaces need
# kernel features that containers lack. QEMU as root: /dev/kvm, readable by root only, would
# otherwise make libvirt probe QEMU's capabilities anew at every start of a domain.
_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
stdio_handler = "file"
namespaces = []
cgroup_controllers = []
max_core = 0
"""

_LIBVIRTD_CONF = """\
unix_sock_group = "root"
unix_sock_ro_perms = "0777"
unix_sock_rw_perms = "0700"
unix_sock_admin_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
max_clients = 200
"""


class HypervisorError(RuntimeError):
    """The private libvirtd could not be started or stopped."""


def _root() -> pathlib.Path:
    # Short, because the path of a unix socket ends at 107 bytes; not /tmp, which may be a tmpfs,
    # where neither holes nor discards are those of a disk.
    return pathlib.Path(os.environ.get("NOVA_DISKAUDIT_LAB_ROOT", "/var/tmp/nova-diskaudit-lab"))


def _members(name: str) -> list[int]:
    """Pids of the processes in whose mount namespace instance *name* lies over /etc/libvirt."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if f"/{name}/etc " in (entry / "mountinfo").read_text():
                found.append(int(entry.name))
    return found


def _kill(pids: list[int], sig: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sig)


def _mounts_below(path: pathlib.Path) -> list[str]:
    """Mount points at or below *path*, the innermost first."""
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [p for p in reversed(points) if p == str(path) or p.startswith(f"{path}/")]


class Hypervisor:
    """One private libvirtd; see the module's docstring."""

    def __init__(self, stack: str = "host", *, hostname: str = "") -> None:
        """:param hostname: what libvirt believes to be the machine's; its real one when empty."""
        if stack not in STACKS:
            raise ValueError(f"unknown stack {stack!r}, known are {', '.join(STACKS)}")
        self.stack = stack
        self._hostname = hostname
        self.pid = 0
        self.directory = pathlib.Path()
        #: ``{'libvirt': '9.0.0', 'qemu': '7.2.22'}``
        self.versions: dict[str, str] = {}
        self._rootfs = pathlib.Path("/")
        self._lock = -1
        # Held open, so that the namespaces outlive a daemon without QEMUs.
        self._namespaces: list[int] = []
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

    @property
    def workdir(self) -> pathlib.Path:
        """Where images live."""
        return self.directory / "images"

    @property
    def log(self) -> pathlib.Path:
        """The daemon's log."""
        return self.directory / "log/libvirtd.log"

    @property
    def uri(self) -> str:
        return f"qemu:///system?socket={self.directory}/run/libvirt-sock"

    @property
    def uri_readonly(self) -> str:
        """To be opened with ``libvirt.openReadOnly`` or ``virsh --readonly``."""
        return f"qemu:///system?socket={self.directory}/run/libvirt-sock-ro"

    @property
    def admin_uri(self) -> str:
        """For ``virt-admin``."""
        return f"libvirtd:///system?socket={self.directory}/run/libvirt-admin-sock"

    def start(self) -> None:
        if self._process is not None:
            raise HypervisorError(f"{self.directory} is already running")
        if os.geteuid() != 0:
            raise HypervisorError("a private libvirtd needs root")
        sweep()
        if self.stack != "host":
            self._rootfs = chroot.ensure(self.stack)
        self._make_directory()
        self._exchange_capabilities(self._capabilities, self.directory / "cache")
        try:
            self._launch()
            self._await_socket()
            for kind in ("mnt", "uts"):
                space = os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
                self._namespaces.append(space)
        except BaseException:
            self.stop()
            raise
        self.versions = {
            "libvirt": self._version("libvirtd", "--version"),
            "qemu": self._version("qemu-system-x86_64", "--version"),
        }

    def stop(self) -> None:
        """End everything that runs in the namespace, and remove the directory."""
        if self._lock < 0:
            return
        self._exchange_capabilities(self.directory / "cache", self._capabilities)
        while self._namespaces:
            os.close(self._namespaces.pop())
        _dismantle(self.directory)
        if self._process is not None:
            self._process.wait()
            self._process = None
        os.close(self._lock)
        self._lock = -1
        self.pid = 0

    def kill_daemon(self) -> None:
        """End the daemon as by the kernel's hand; its QEMUs live on."""
        if self._process is None:
            raise HypervisorError(f"{self.directory} is not running")
        self._process.kill()
        self._process.wait()

    def start_daemon(self) -> None:
        """Start the daemon again after :meth:`kill_daemon`, and wait until it listens.

        It goes on with the QEMUs that it finds, some of them after it has begun to listen.
        """
        if self._process is None or self._process.poll() is None:
            raise HypervisorError(f"{self.directory} has a daemon or was never started")
        # The sockets of the dead daemon are still there, and would be taken for the new one's.
        for left in (self.directory / "run").glob("libvirt-*sock*"):
            left.unlink()
        mount, uts = (f"/proc/self/fd/{space}" for space in self._namespaces)
        inside = ["nsenter", f"--mount={mount}", f"--uts={uts}", *self._daemon_command()]
        self._spawn(inside, pass_fds=tuple(self._namespaces))
        self._await_socket()

    def qemu_pid(self, domain: str) -> int:
        """The pid of a running domain's QEMU."""
        return int((self.directory / f"run/qemu/{domain}.pid").read_text())

    def members(self) -> list[int]:
        """Pids of the daemon and of everything that it started."""
        return _members(self.directory.name)

    def run(self, *command: str) -> str:
        """Run a command of this stack (``qemu-img``, ...) inside, and return what it prints."""
        inside = ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt"]
        if self._rootfs != pathlib.Path("/"):
            inside += ["chroot", str(self._rootfs)]
        done = subprocess.run([*inside, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise HypervisorError(f"{shlex.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def _make_directory(self) -> None:
        # It gets its name when it is locked: a sweep by another run takes the rest for left-overs.
        name = f"{self.stack}-{secrets.token_hex(4)}"
        fresh = _root() / f".{name}"
        fresh.mkdir(parents=True, mode=0o755)
        self._lock = lock.take(fresh, make=True)
        self.directory = fresh.rename(_root() / name)
        for name in (*_PRIVATE, "images"):
            (self.directory / name).mkdir(mode=0o755)
        (self.directory / "etc/qemu.conf").write_text(_QEMU_CONF)
        (self.directory / "etc/libvirtd.conf").write_text(_LIBVIRTD_CONF)
        # Shared, so that a mount made below it later reaches the namespace.
        _mount("--bind", self.workdir, self.workdir)
        _mount("--make-private", self.workdir)
        _mount("--make-shared", self.workdir)

    @property
    def _capabilities(self) -> pathlib.Path:
        return chroot.cache() / f"capabilities-{self.stack}"

    def _exchange_capabilities(self, source: pathlib.Path, target: pathlib.Path) -> None:
        # Asking QEMU what it can do takes libvirt 7 s. It knows by itself when what it wrote down
        # no longer holds.
        for found in source.glob("qemu/capabilities/*.xml"):
            copy = target / found.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            partial = copy.with_name(f"{copy.name}.{secrets.token_hex(4)}")
            shutil.copy2(found, partial)
            partial.rename(copy)

    def _launch(self) -> None:
        rootfs = "" if self._rootfs == pathlib.Path("/") else str(self._rootfs)
        lines = ["set -e"]
        for name, target in _PRIVATE.items():
            lines += [
                f"mkdir -p {rootfs}{target}",
                f"mount --bind {self.directory}/{name} {rootfs}{target}",
            ]
        if rootfs:
            for name in ("dev", "sys"):
                lines.append(f"mount --rbind /{name} {rootfs}/{name}")
            lines += [
                f"mount -t proc proc {rootfs}/proc",
                f"mkdir -p {rootfs}{self.workdir.parent.parent}",
                f"mount --rbind {self.workdir.parent.parent} {rootfs}{self.workdir.parent.parent}",
            ]
        own = ["unshare", "--mount", "--propagation", "slave"]
        if self._hostname:
            own.append("--uts")
            lines.append(f"echo {shlex.quote(self._hostname)} > /proc/sys/kernel/hostname")
        lines.append(f"exec {shlex.join(self._daemon_command())}")
        self._spawn([*own, "sh", "-c", "\n".join(lines)])

    def _daemon_command(self) -> list[str]:
        inside = [] if self._rootfs == pathlib.Path("/") else ["chroot", str(self._rootfs)]
        files = ["/etc/libvirt/libvirtd.conf", "/run/libvirt/libvirtd.pid"]
        return [*inside, "libvirtd", "--config", files[0], "--pid-file", files[1]]

    def _spawn(self, command: list[str], pass_fds: tuple[int, ...] = ()) -> None:
        """Start the daemon by a command that becomes it, without a process between."""
        with (self.directory / "log/stderr").open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                pass_fds=pass_fds,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            )
        self.pid = self._process.pid

    def _await_socket(self, seconds: float = 60) -> None:
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                said = (self.directory / "log/stderr").read_text().strip()
                raise HypervisorError(f"libvirtd ended with {self._process.returncode}: {said}")
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.directory / "run/libvirt-sock"))
                return
            time.sleep(0.05)
        raise HypervisorError(f"libvirtd did not listen within {seconds:.0f} s")

    def _version(self, *command: str) -> str:
        # "libvirtd (libvirt) 9.0.0", "QEMU emulator version 7.2.22 (Debian ...)"
        words = self.run(*command).split("\n")[0].split()
        return next(word for word in words if word[0].isdigit())


def sweep() -> None:
    """End and remove what killed runs have left behind."""
    root = _root()
    if not root.is_dir():
        return
    for directory in root.glob("[!.]*"):
        held = lock.take(directory, make=False)
        if held >= 0:
            _dismantle(directory)
            os.close(held)


def _mount(option: str, *paths: pathlib.Path) -> None:
    subprocess.run(["mount", option, *map(str, paths)], check=True)


def _dismantle(directory: pathlib.Path) -> None:
    """Kill, unmount, remove. The caller holds the lock."""
    deadline = time.monotonic() + 20
    # Found now: once the images are unmounted, the kernel tells their names without a directory.
    loops = _loops(directory)
    # A QEMU that waits for a stopped file system dies only when that mount is gone, so the mounts
    # are taken away while the processes are being killed.
    while members := _members(directory.name):
        _kill(members, signal.SIGKILL)
        _unmount(directory)
        if time.monotonic() > deadline:
            raise HypervisorError(f"{directory}: processes {members} do not die")
        time.sleep(0.02)
    _unmount(directory)
    for device in loops:
        # One that `mount -o loop` made is gone with its mount.
        subprocess.run(["losetup", "--detach", device], check=False, stderr=subprocess.DEVNULL)
    # rmtree must not walk into a mount: what is mounted there is not ours.
    if left := _mounts_below(directory):
        raise HypervisorError(f"{directory}: still mounted: {', '.join(left)}")
    shutil.rmtree(directory)


def _unmount(directory: pathlib.Path) -> None:
    for point in _mounts_below(directory):
        subprocess.run(["umount", "--lazy", point], check=False, stderr=subprocess.DEVNULL)


def _loops(directory: pathlib.Path) -> list[str]:
    """The loop devices over files of the directory."""
    found = []
    for backing in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if backing.read_text().startswith(f"{directory}/"):
                found.append(f"/dev/{backing.parts[3]}")
    return found


def main() -> None:
    """Run one until the shell that it opens ends: ``python -m tests.lab.hypervisor trixie``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("stack", nargs="?", choices=STACKS, default="host")
    with Hypervisor(parser.parse_args().stack) as hypervisor:
        print(hypervisor.versions, hypervisor.workdir)
        environ = os.environ | {"LIBVIRT_DEFAULT_URI": hypervisor.uri}
        subprocess.run([os.environ.get("SHELL", "sh")], env=environ, check=False)


if __name__ == "__main__":
    main()

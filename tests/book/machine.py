# SPDX-License-Identifier: Apache-2.0
"""A copy-on-write view of this machine, without anything of nova-diskaudit but its source.

What is done there lands in a directory that is removed in the end. Processes, the network and
``/proc`` are the machine's own, so the servers of the tests are there.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import types
from collections.abc import Mapping
from typing import ClassVar, Self

from tests.lab import lock
from tests.services import place

TOP = pathlib.Path(__file__).parents[2]
CHECKOUT = "/usr/src/nova-diskaudit"
#: as a login shell of root has it: no environment of whoever runs the tests
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Against a hang; three virtual environments are filled meanwhile.
_SECONDS = 1500

# Replaces itself by bash in a mount namespace, so that nothing has to be unmounted.
_ENTER = """\
set -e
mount -t overlay overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" "$1/root"
for name in proc sys dev; do mount --rbind "/$name" "$1/root/$name"; done
top=$1; shift
while [ "$#" -gt 0 ]; do
    mkdir -p "$top/root$2"
    mount --rbind "$1" "$top/root$2"
    shift 2
done
exec chroot "$top/root" bash -e /run/book.sh
"""

_BEGIN = """\
set -o pipefail
retried() {
    local left
    for left in $(seq 60); do "$@" && return; sleep 1; done
    echo "in vain: $*" >&2
    return 1
}
"""


class Machine(place.Place):
    """One such view; what runs in it ends with it."""

    NAME: ClassVar[str] = "book"

    def __enter__(self) -> Self:
        sweep()
        super().__enter__()
        for name in ("upper", "work", "root"):
            (self.data / name).mkdir()
        for name in ("etc/nova-diskaudit", "opt", "var/lib/nova-diskaudit"):
            self._hide(name)
        self.write("/usr/local/sbin/systemctl", (TOP / "tests/book/systemctl").read_text(), 0o755)
        self._copy_source()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        _end(self.directory.name)
        super().__exit__(kind, error, trace)

    def path(self, name: str) -> pathlib.Path:
        """Where what was written in the view lies."""
        return self.data / "upper" / name.lstrip("/")

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Put a file there."""
        file = self.path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def run(self, script: str, *, mounts: Mapping[str, str] | None = None) -> str:
        """Run a script of bash to its end, at its first error; all that it prints.

        :param mounts: directories of this machine, and where they are in the view.
        :raises AssertionError: when it fails, with what it said.
        :raises subprocess.TimeoutExpired: after 25 minutes.
        """
        self.write("/run/book.sh", _BEGIN + script)
        given = [word for pair in (mounts or {}).items() for word in pair]
        said = self.directory / "said"
        # To a file: services that outlive the script would hold a pipe open.
        with said.open("wb") as file:
            done = subprocess.run(
                ["unshare", "--mount", "bash", "-c", _ENTER, "bash", str(self.data), *given],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                check=False,
                timeout=_SECONDS,
                cwd="/",
                env={"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", **_pip()},
            )
        text = said.read_text(errors="replace")
        assert done.returncode == 0, text[-6000:] + self._logs()
        return text

    def _hide(self, name: str) -> None:
        """An empty directory over the machine's own."""
        directory = self.path(name)
        directory.mkdir(parents=True)
        os.setxattr(directory, "trusted.overlay.opaque", b"y")

    def _copy_source(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=TOP,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.split("\0"):
            if name and (TOP / name).is_file():
                target = self.path(f"{CHECKOUT}/{name}")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(TOP / name, target)

    def _logs(self) -> str:
        return "".join(
            f"\n=== {log.name}\n{log.read_text(errors='replace')[-2000:]}"
            for log in sorted(self.path("/var/log/book").glob("*"))
        )


def members() -> dict[int, str]:
    """The processes that see a view, each with the name of the view's directory."""
    mark = re.compile(rf"upperdir={re.escape(str(place.root()))}/({Machine.NAME}-[0-9a-f]+)/data/")
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            # The process may have ended.
            with contextlib.suppress(OSError):
                if seen := mark.search((entry / "mountinfo").read_text()):
                    found[int(entry.name)] = seen[1]
    return found


def sweep() -> None:
    """End what killed runs have left running; their directories are removed as all others."""
    for name in set(members().values()):
        directory = place.root() / name
        held = lock.take(directory, make=False)
        if held >= 0 or not directory.exists():
            _end(name)
        if held >= 0:
            os.close(held)


def _end(name: str) -> None:
    """End whatever sees a view; children of what is killed may come to light late."""
    while found := [pid for pid, view in members().items() if view == name]:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _pip() -> dict[str, str]:
    """How pip reaches its packages here, and the version of a source without git's history."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return {**kept, "PBR_VERSION": "0.0.0"}

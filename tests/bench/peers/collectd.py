# SPDX-License-Identifier: Apache-2.0
"""collectd's virt plugin, of Debian's collectd-core.

collectd reads by its own clock, and cannot be told to. So each look is the first reading of a fresh
daemon, which reads at once. It has one reading thread; a second plugin is due every few
milliseconds, and what that one says after the virt plugin has begun shows that virt has ended.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import time

from tests.bench.peers.peer import (
    PATIENCE_SECONDS,
    Answers,
    Look,
    Scene,
    children_cpu,
    debian_version,
    end_tree,
)
from tests.bench.processes import tree

_PROGRAM = "/usr/sbin/collectd"
_VALUES = "["  # a line that is JSON
_MOST_MARKS = 20  # without a word of virt's: there is no domain
_CONF = """\
BaseDir "{directory}"
PIDFile "{directory}/pid"
Hostname "bench"
FQDNLookup false
Interval 3600
ReadThreads 1
WriteThreads 1
LoadPlugin logfile
<Plugin logfile>
  LogLevel info
  File "{log}"
  Timestamp false
</Plugin>
LoadPlugin write_log
<Plugin write_log>
  Format JSON
</Plugin>
<LoadPlugin uptime>
  Interval 0.1
</LoadPlugin>
LoadPlugin virt
<Plugin virt>
  Connection "{uri}"
  RefreshInterval 3600
  HostnameFormat name
  BlockDeviceFormat target
  ExtraStats "disk_allocation disk_capacity disk_physical"
</Plugin>
"""


class Collectd:
    """One reading, with the extra values of disks that its users have to ask for."""

    name = "collectd's virt plugin"
    held = ("disk_allocation", "disk_physical")
    used: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    def version(self) -> str:
        return debian_version("collectd-core")

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        self._conf = directory / "collectd.conf"
        self._log = directory / "log"
        self._conf.write_text(
            _CONF.format(directory=directory, log=self._log, uri=scene.hypervisor.uri)
        )

    def look(self, patience: float = PATIENCE_SECONDS) -> Look:
        self._log.write_bytes(b"")
        before = children_cpu()
        begun = time.monotonic()
        self._process = subprocess.Popen(
            [_PROGRAM, "-f", "-C", str(self._conf)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        lines: list[str] = []
        grown_at = begun
        trouble = ""
        with self._log.open(errors="replace") as log:
            part = ""
            while not _is_over(lines):
                part += log.read()
                *whole, part = part.split("\n")
                found = [line for line in whole if line.startswith(_VALUES)]
                lines += found
                if any(not _is_mark(line) for line in found):
                    grown_at = time.monotonic()
                if self._process.poll() is not None:
                    trouble = f"ended by itself with {self._process.returncode}"
                    break
                if time.monotonic() - begun > patience:
                    trouble = f"no end within {patience:g} s"
                    break
                time.sleep(0.005)
        self.stop()
        said = "\n".join(line for line in lines if not _is_mark(line))
        return Look(said, grown_at - begun, children_cpu() - before, 1, trouble)

    def read(self, said: str) -> Answers:
        found: Answers = {}
        for line in said.splitlines():
            for value in json.loads(line):
                if value["type"] in ("disk_allocation", "disk_physical", "disk_capacity"):
                    disk = value["host"], value["type_instance"]
                    found.setdefault(disk, {})[value["type"]] = int(value["values"][0])
        return found

    def pids(self) -> set[int]:
        return tree(self._process.pid) if self._process is not None else set()

    def stop(self) -> None:
        # Hard: a reading thread that hangs would be waited for.
        if self._process is not None:
            end_tree(self._process)
            self._process = None


def _is_mark(line: str) -> bool:
    return '"plugin":"uptime"' in line


def _is_over(lines: list[str]) -> bool:
    """Whether the other plugin has had its turn after virt's, which holds the only thread."""
    if not lines or not _is_mark(lines[-1]):
        return False
    return not all(map(_is_mark, lines)) or len(lines) >= _MOST_MARKS

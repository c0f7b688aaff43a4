# SPDX-License-Identifier: Apache-2.0
"""How many calls libvirtd gets, and how many questions it puts to QEMUs meanwhile.

libvirtd says both in its log when it is told to, which is done for a block of its own that is not
timed: the log costs more than some of what is counted.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import subprocess
import types
from typing import Self

from tests.lab.hypervisor import Hypervisor

# REMOTE_PROGRAM and QEMU_PROGRAM of libvirt's protocols; not the administrator's, nor keep-alives.
_PROGRAMS = {0x20008086: "libvirt", 0x20008087: "qemu"}
_CALL = re.compile(
    r"RPC_SERVER_CLIENT_MSG_RX: .* prog=(?P<program>\d+) vers=\d+ proc=(?P<procedure>\d+) type=0 "
)
_MONITOR = re.compile(r'(?:QEMU_MONITOR_SEND_MSG|QEMU_AGENT_SEND_MSG): .*"execute":"([^"]+)"')
_FILTERS = "2:rpc.netserverclient 2:qemu.qemu_monitor 4:*"


@dataclasses.dataclass(frozen=True)
class Calls:
    """``libvirt`` counts calls by program and number of the procedure, ``qemu`` QMP commands."""

    libvirt: dict[str, int]
    qemu: dict[str, int]


class Counted:
    """Counts all calls of all clients from the beginning of the block to its end."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._log = hypervisor.log.with_name("rpc.log")
        self.calls = Calls({}, {})

    def __enter__(self) -> Self:
        self._log.unlink(missing_ok=True)
        self._before = self._admin("daemon-log-outputs").partition(":")[2].strip()
        self._admin("daemon-log-outputs", f"1:file:/var/log/libvirt/{self._log.name}")
        self._admin("daemon-log-filters", _FILTERS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._admin("daemon-log-filters", "")
        self._admin("daemon-log-outputs", self._before)
        libvirt: collections.Counter[str] = collections.Counter()
        qemu: collections.Counter[str] = collections.Counter()
        with self._log.open(errors="replace") as log:
            for line in log:
                if found := _CALL.search(line):
                    program = _PROGRAMS.get(int(found["program"]))
                    if program is not None:
                        libvirt[f"{program} {found['procedure']}"] += 1
                elif found := _MONITOR.search(line):
                    qemu[found[1]] += 1
        self.calls = Calls(dict(libvirt), dict(qemu))

    def _admin(self, *command: str) -> str:
        return subprocess.run(
            ["virt-admin", "--connect", self._hypervisor.admin_uri, *command],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

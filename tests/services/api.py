# SPDX-License-Identifier: Apache-2.0
"""The central service as it runs in production: its WSGI application under uWSGI."""

from __future__ import annotations

import contextlib
import pathlib
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import ClassVar

from tests.services import daemon
from tests.services.cloud import Person
from tests.services.keystone import Keystone

#: Options by group.
Settings = Mapping[str, Mapping[str, object]]

_TOP = pathlib.Path(__file__).parents[2]


class Api(daemon.Daemon):
    """One service with workers of its own, by these settings."""

    NAME: ClassVar[str] = "api"
    INI: ClassVar[str] = "nova-diskaudit-api-uwsgi.ini"
    # The interpreter may live in root's home, where nobody else can read.
    OWNER: ClassVar[tuple[int, int]] = (0, 0)

    def __init__(self, settings: Settings, *, processes: int = 2) -> None:
        super().__init__()
        self._settings = settings
        self._processes = processes

    @property
    def url(self) -> str:
        """As it stands in a catalog."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def conf(self) -> pathlib.Path:
        """Its configuration file."""
        return self.directory / "nova-diskaudit-api.conf"

    def prepare(self) -> None:
        lines = []
        for group, options in self._settings.items():
            lines.append(f"[{group}]")
            lines += [f"{name} = {value}" for name, value in options.items()]
        self.conf.write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        # As it is shipped, but for the address and the number of processes.
        shipped = (_TOP / "etc/nova-diskaudit" / self.INI).read_text()
        own, count = re.subn(r"(?m)^(http-socket|processes) = .*\n", "", shipped)
        assert count == 2
        ini = self.directory / "uwsgi.ini"
        ini.write_text(own)
        return [
            *(str(pathlib.Path(sys.executable).parent / "uwsgi"), "--ini", str(ini)),
            *(f"--http-socket=127.0.0.1:{self.port}", f"--processes={self._processes}"),
            "--disable-logging",
        ]

    def environ(self) -> Mapping[str, str]:
        return {"NOVA_DISKAUDIT_CONFIG_FILES": str(self.conf), "PYTHONPATH": str(_TOP)}

    def is_ready(self) -> bool:
        # It listens before it is loaded.
        try:
            with urllib.request.urlopen(f"{self.url}/", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def workers(self) -> list[int]:
        """Its processes."""
        return processes_below(self.pid)

    def peak_bytes(self) -> int:
        """The most memory that any of its processes has had since :meth:`forget_peak`."""
        return max(_peak(pid) for pid in self.workers())

    def forget_peak(self) -> None:
        """Begin anew with what they have now."""
        for pid in self.workers():
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


class MetricsApi(Api):
    """``/metrics`` without tokens, by its own file for uWSGI."""

    NAME: ClassVar[str] = "metrics-api"
    INI: ClassVar[str] = "nova-diskaudit-metrics-uwsgi.ini"


class LocalApi(Api):
    """The same by ``nova-diskaudit-api``: one process, without uWSGI."""

    NAME: ClassVar[str] = "local-api"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, processes=1)

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "nova_diskaudit.cmd.api"),
            *("--port", str(self.port), "--config-file", str(self.conf)),
        ]


def processes_below(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _peak(pid: int) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no memory")


def auth_token(keystone: Keystone, person: Person) -> dict[str, object]:
    """The options of ``[keystone_authtoken]``.

    :param person: the service's own user, who may look at other people's tokens.
    """
    return {
        "www_authenticate_uri": keystone.url,
        "auth_url": keystone.url,
        "auth_type": "password",
        "user_id": person.id,
        "password": person.password,
        "project_id": person.project,
    }

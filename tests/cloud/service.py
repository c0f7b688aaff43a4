# SPDX-License-Identifier: Apache-2.0
"""How one service of OpenStack runs: its configuration, and a process of it."""

from __future__ import annotations

import contextlib
import pathlib
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import ClassVar

from tests.cloud import environment
from tests.services import daemon
from tests.services.api import Settings


def ini(settings: Settings) -> str:
    """Options by group, as oslo.config reads them."""
    lines = []
    for group, options in settings.items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {value}" for name, value in options.items()]
    return "\n".join(lines) + "\n"


class Service(daemon.Daemon):
    """A program of OpenStack with a configuration file of its own. It logs to its ``log``."""

    OWNER: ClassVar[tuple[int, int]] = (0, 0)
    #: name of the configuration file
    CONF: ClassVar[str]
    #: Seconds; a cold start beside all the others takes some.
    PATIENCE: ClassVar[float] = 240

    @property
    def conf(self) -> pathlib.Path:
        """Its configuration file."""
        return self.directory / self.CONF

    def settings(self) -> Settings:
        """What stands in the configuration file; ``directory`` is there already."""
        raise NotImplementedError

    def prepare(self) -> None:
        self.conf.write_text(ini(self.settings()))


class Web(Service):
    """An API: a WSGI application under uWSGI, one process with threads."""

    MODULE: ClassVar[str]
    THREADS: ClassVar[int] = 6

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            *(str(environment.programs() / "bin/uwsgi"), f"--module={self.MODULE}:application"),
            *(f"--http-socket=127.0.0.1:{self.port}", "--enable-threads"),
            *(f"--threads={self.THREADS}", "--buffer-size=65535"),
            *("--die-on-term", "--need-app", "--disable-logging"),
            "--add-header=Connection: close",
        ]

    def is_ready(self) -> bool:
        # It listens before it is loaded.
        try:
            with urllib.request.urlopen(f"{self.url}/", timeout=5) as answer:
                return bool(answer.status < 400)
        except urllib.error.HTTPError as error:
            # Glance answers 300: choose a version.
            return error.code in (300, 401)
        except OSError:
            return False


class Worker(Service):
    """A program that listens to nobody but the message bus.

    Whether it is ready, its log or another service has to say.
    """

    PROGRAM: ClassVar[str]
    #: what its log says when it works
    READY: ClassVar[str]

    def command(self) -> list[str]:
        return [str(environment.programs() / "bin" / self.PROGRAM), f"--config-file={self.conf}"]

    def is_ready(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self.READY in self.log.read_text(errors="replace")
        return False


def credentials(keystone_url: str, user_id: str, password: str, project_id: str) -> dict[str, str]:
    """keystoneauth's options for a user with a password."""
    return {
        "auth_type": "password",
        "auth_url": keystone_url,
        "user_id": user_id,
        "password": password,
        "project_id": project_id,
        "region_name": "RegionOne",
        "valid_interfaces": "internal",
    }


def environ_of(variables: Mapping[str, str], *paths: pathlib.Path) -> dict[str, str]:
    """An environment whose PATH begins with ``paths``."""
    usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**variables, "PATH": ":".join([*map(str, paths), usual])}

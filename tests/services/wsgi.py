# SPDX-License-Identifier: Apache-2.0
"""A service of OpenStack under uWSGI, which lies in its virtual environment as a wheel."""

from __future__ import annotations

import contextlib
import pathlib
import urllib.request
from typing import ClassVar

from tests.services import daemon


class Wsgi(daemon.Daemon):
    """One server; a subclass sets ``environment`` when it prepares, and says what is run."""

    # The interpreter may live in root's home, where nobody else can read.
    OWNER: ClassVar[tuple[int, int]] = (0, 0)
    #: of the application, as ``package.module:name``
    MODULE: ClassVar[str]
    THREADS: ClassVar[int] = 4

    environment: pathlib.Path

    @property
    def url(self) -> str:
        """As it stands in a catalog."""
        return f"http://127.0.0.1:{self.port}"

    def options(self) -> list[str]:
        """Further ones of uWSGI."""
        return []

    def command(self) -> list[str]:
        return [
            *(str(self.environment / "bin/uwsgi"), f"--module={self.MODULE}"),
            *(f"--http-socket=127.0.0.1:{self.port}", "--enable-threads"),
            *(f"--threads={self.THREADS}", "--buffer-size=65535", "--http-chunked-input"),
            *("--die-on-term", "--need-app", "--disable-logging"),
            *("--add-header=Connection: close", *self.options()),
        ]

    def is_ready(self) -> bool:
        # It listens before it is loaded.
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=5) as answer:
            return bool(answer.status == 200)
        return False

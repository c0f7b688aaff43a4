# SPDX-License-Identifier: Apache-2.0
"""The text of ``/metrics`` as a file, for node_exporter's textfile collector."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib

from nova_diskaudit.conf import ConfigurationError

LOG = logging.getLogger(__name__)

_MODE = 0o644


class Textfile:
    """Writes ``path`` whole or not at all; a failure is logged once, and so is its end.

    :raises ConfigurationError: for a name that the collector would not read.
    """

    def __init__(self, path: str) -> None:
        self._path = pathlib.Path(path)
        self._problem: str | None = None
        if not self._path.is_absolute() or self._path.suffix != ".prom":
            raise ConfigurationError(
                f"[exporter] textfile: {path!r} is not an absolute path that ends in .prom"
            )

    def write(self, text: bytes | str) -> bool:
        """Replace the file; whether it worked.

        Not synced: after a power cut an old or no file is as good as this one.
        """
        data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
        # Not *.prom: the collector must never see it half written.
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with open(fresh, "wb") as file:
                os.fchmod(file.fileno(), _MODE)
                file.write(data)
            os.rename(fresh, self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            problem = error.strerror or str(error)
            if problem != self._problem:
                LOG.error("Cannot write %s: %s; it stands as it was", self._path, problem)
            self._problem = problem
            return False
        if self._problem is not None:
            LOG.info("%s is written again", self._path)
        self._problem = None
        return True

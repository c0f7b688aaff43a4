# SPDX-License-Identifier: Apache-2.0
"""All that shows this host's state on this host: ``/metrics``, the local socket, the text file."""

from __future__ import annotations

import datetime
import pathlib
import threading
from collections.abc import Callable

from oslo_config import cfg

from nova_diskaudit.agent import local
from nova_diskaudit.agent.exporter import Exporter
from nova_diskaudit.agent.reader import SOCKET_NAME
from nova_diskaudit.agent.textfile import Textfile
from nova_diskaudit.health import AgentStatus
from nova_diskaudit.record import HostReport
from nova_diskaudit.render import agent_metrics, prometheus


class Outputs:
    """The newest report and the agent's own health, to whoever asks here.

    :param report: gives the newest report; None before there is one.
    :param status: gives the agent's state.
    :raises ConfigurationError: for a value of ``[exporter]`` that cannot be used.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        state_path: pathlib.Path,
        *,
        report: Callable[[], HostReport | None],
        status: Callable[[], AgentStatus],
    ) -> None:
        self._report = report
        self._status = status
        self._mutex = threading.Lock()
        self._rendered: tuple[HostReport | None, str] = (None, "")
        self._exporter = Exporter(conf.exporter.listen, self._text)
        self._textfile = Textfile(conf.exporter.textfile) if conf.exporter.textfile else None
        self._socket = local.LocalSocket(
            state_path / SOCKET_NAME,
            lambda: local.document(report(), status()),
            group=conf.exporter.socket_group,
        )

    def start(self) -> None:
        """Serve from now on.

        :raises ConfigurationError: when the local socket cannot be made.
        """
        self._socket.start()
        self._exporter.start()

    def renew(self) -> None:
        """There is a new report."""
        if self._textfile is not None:
            self._textfile.write(self._text())

    def close(self) -> None:
        """Serve no more."""
        self._exporter.close()
        self._socket.close()

    def _text(self) -> str:
        report = self._report()
        return self._of_report(report) + agent_metrics.render(
            self._status(), report, datetime.datetime.now(datetime.UTC)
        )

    def _of_report(self, report: HostReport | None) -> str:
        """The text of a report is made once, however often it is scraped."""
        if report is None:
            return ""
        with self._mutex:
            if self._rendered[0] is not report:
                self._rendered = (report, prometheus.render(report))
            return self._rendered[1]

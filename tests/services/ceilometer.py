# SPDX-License-Identifier: Apache-2.0
"""A real ``ceilometer-polling`` of a compute node, from PyPI, that shows what it polled.

Its samples go to its own Prometheus exporter, so it needs no message bus; and no Keystone, for it
reads whose an instance is from the domain's metadata.
"""

from __future__ import annotations

import contextlib
import pathlib
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import ClassVar

from prometheus_client.parser import text_string_to_metric_families

from tests.services import daemon, venv

#: Ceilometer 27.0.0 is of OpenStack 2026.2.
REQUIREMENTS = ("ceilometer==27.0.0", "libvirt-python")

_CONF = """\
[DEFAULT]
host = compute-1
libvirt_type = qemu
libvirt_uri = {libvirt}
[polling]
cfg_file = {directory}/polling.yaml
enable_notifications = false
enable_prometheus_exporter = true
prometheus_listen_addresses = 127.0.0.1:{port}
[nova_diskaudit]
agent_socket = {agent}
"""
_POLLING = """\
sources:
  - name: disks
    interval: 1
    meters:
      - diskaudit.*
      - disk.device.capacity
"""


def environment() -> pathlib.Path:
    """The virtual environment; takes a minute when it is not in the cache."""
    return venv.made("ceilometer", REQUIREMENTS)


class Ceilometer(daemon.Daemon):
    """One polling agent of the namespace ``compute``."""

    NAME: ClassVar[str] = "ceilometer"
    # libvirt's socket, and the agent's, are root's.
    OWNER: ClassVar[tuple[int, int]] = (0, 0)

    def __init__(self, *, libvirt: str, agent: pathlib.Path, installed: pathlib.Path) -> None:
        """
        :param libvirt: URI of the host's libvirtd.
        :param agent: socket of nova-diskaudit-agent.
        :param installed: a directory for PYTHONPATH, with nova-diskaudit in it.
        """
        super().__init__()
        self._libvirt = libvirt
        self._agent = agent
        self._installed = installed

    def command(self) -> list[str]:
        # The port is chosen anew for each start.
        (self.directory / "polling.yaml").write_text(_POLLING)
        conf = self.directory / "ceilometer.conf"
        conf.write_text(
            _CONF.format(
                libvirt=self._libvirt,
                agent=self._agent,
                directory=self.directory,
                port=self.port,
            )
        )
        program = str(environment() / "bin/ceilometer-polling")
        return [program, f"--config-file={conf}", "--polling-namespaces=compute"]

    def environ(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(self._installed)}

    def is_ready(self) -> bool:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            self.metrics()
            return True
        return False

    def metrics(self) -> dict[str, dict[str, float]]:
        """What it exports now: by meter (``diskaudit.host.allocated``), then by resource."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(text):
            for one in family.samples:
                if one.name.startswith("ceilometer_"):
                    meter = one.labels["counter"]
                    found.setdefault(meter, {})[one.labels["resource"]] = one.value
        return found

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's compute pollsters of disks: the real classes, from PyPI, in their own process."""

from __future__ import annotations

import json
import pathlib

from tests.bench.peers import ceilometer_poll
from tests.bench.peers.peer import Answers, PeerError, Scene, ran
from tests.bench.peers.told import Told
from tests.services import ceilometer, place

# As on a compute node whose Nova writes its metadata into the XML, which is the default: neither
# Nova nor Keystone is asked.
_CONF = """\
[DEFAULT]
host = bench
libvirt_uri = {uri}
"""


class Ceilometer(Told):
    """One polling of its own discovery and of the three meters of a disk's size.

    The inspector is asked once for an instance, for the pollsters share what it said. What is
    measured is without the start of the agent, and without the sending of samples.
    """

    name = "Ceilometer's pollsters"
    held = ("disk.device.allocation", "disk.device.usage")

    def version(self) -> str:
        pip = (str(_environment() / "bin/pip"), "list", "--format=json")
        found = {one["name"].lower(): one["version"] for one in json.loads(ran(*pip))}
        return f"ceilometer {found['ceilometer']}"

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        conf = directory / "ceilometer.conf"
        conf.write_text(_CONF.format(uri=scene.hypervisor.uri_readonly))
        self._names = {uuid: name for name, uuid in scene.uuids.items()}
        python = str(_environment() / "bin/python")
        self.begin([python, "-I", ceilometer_poll.__file__, str(conf)], directory)

    def read(self, said: str) -> Answers:
        found: Answers = {}
        for line in said.splitlines():
            meter, domain, target, volume = json.loads(line)
            found.setdefault((domain, target), {})[meter] = volume
        return found


def _environment() -> pathlib.Path:
    try:
        return ceilometer.environment()
    except place.ServiceError as error:
        raise PeerError(f"Ceilometer cannot be installed: {error}") from None

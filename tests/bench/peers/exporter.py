# SPDX-License-Identifier: Apache-2.0
"""Debian's ``prometheus-libvirt-exporter``: a service that looks when it is scraped."""

from __future__ import annotations

import pathlib
import subprocess
import time
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.bench.peers.peer import (
    PATIENCE_SECONDS,
    Answers,
    Look,
    PeerError,
    Scene,
    debian_version,
    end_tree,
)
from tests.bench.processes import tree
from tests.services.daemon import free_port

_PROGRAM = "prometheus-libvirt-exporter"
_START_SECONDS = 30.0


class Exporter:
    """It counts reads and writes of disks, and has no field for what they hold."""

    name = _PROGRAM
    held: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    def version(self) -> str:
        return debian_version(_PROGRAM)

    def start(self, scene: Scene, directory: pathlib.Path) -> None:
        address = f"127.0.0.1:{free_port()}"
        self._url = f"http://{address}/metrics"
        uri = f"--libvirt.uri={scene.hypervisor.uri_readonly}"
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [_PROGRAM, f"--web.listen-address={address}", uri], stdout=log, stderr=log
            )
        until = time.monotonic() + _START_SECONDS
        while (first := self.look()).trouble:
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise PeerError(f"{_PROGRAM} does not serve: {first.trouble}")
            time.sleep(0.05)

    def look(self, patience: float = PATIENCE_SECONDS) -> Look:
        begun = time.monotonic()
        said, trouble = "", ""
        try:
            with urllib.request.urlopen(self._url, timeout=patience) as answer:
                said = answer.read().decode()
        except OSError as error:
            trouble = str(error)
        return Look(said, time.monotonic() - begun, None, 1, trouble)

    def read(self, said: str) -> Answers:
        found: Answers = {}
        for family in text_string_to_metric_families(said):
            for sample in family.samples:
                labels = sample.labels
                if "target_device" in labels:
                    fields = found.setdefault((labels["domain"], labels["target_device"]), {})
                    fields[sample.name] = int(sample.value)
        return found

    def pids(self) -> set[int]:
        return tree(self._process.pid) if self._process is not None else set()

    def stop(self) -> None:
        if self._process is not None:
            end_tree(self._process)
            self._process = None

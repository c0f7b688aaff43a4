# SPDX-License-Identifier: Apache-2.0
"""Debian's ``prometheus-libvirt-exporter``: a service that looks when it is scraped."""

from __future__ import annotations

import pathlib
import subprocess
import urllib.request
from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families

from tests.bench.peers.peer import PATIENCE_SECONDS, Answers, PeerError, debian_version
from tests.lab.machine import await_true
from tests.services.daemon import free_port

_PROGRAM = "prometheus-libvirt-exporter"


class Exporter:
    """It counts reads and writes of disks; sizes are told where a metric's name says bytes."""

    name = _PROGRAM
    held = ()

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def version(self) -> str:
        return debian_version(_PROGRAM)

    def start(self, uri: str, disks: Sequence[tuple[str, str]], directory: pathlib.Path) -> None:
        address = f"127.0.0.1:{free_port()}"
        self._url = f"http://{address}/metrics"
        command = [_PROGRAM, f"--web.listen-address={address}", f"--libvirt.uri={uri}"]
        with (directory / "exporter.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        await_true(f"{_PROGRAM} listens", self._listens)

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise PeerError(f"{_PROGRAM} ended with {self._process.returncode}")
        try:
            return "libvirt_up 1" in self.look()
        except PeerError:
            return False

    def look(self) -> str:
        try:
            with urllib.request.urlopen(self._url, timeout=PATIENCE_SECONDS) as answer:
                said: bytes = answer.read()
        except OSError as error:
            raise PeerError(f"{self._url}: {error}") from None
        return said.decode()

    def read(self, said: str) -> Answers:
        found: Answers = {}
        for family in text_string_to_metric_families(said):
            for sample in family.samples:
                labels = sample.labels
                if "target_device" in labels:
                    fields = found.setdefault((labels["domain"], labels["target_device"]), {})
                    fields[sample.name] = int(sample.value)
        return found

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

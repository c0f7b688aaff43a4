# SPDX-License-Identifier: Apache-2.0
"""The product as an operator runs it: a command, its output, its exit status."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
from typing import IO, Any

COMMAND = pathlib.Path(sys.executable).with_name("nova-diskaudit")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a run of the product said."""

    status: int
    output: str
    errors: str
    #: resident bytes of the largest of its processes
    peak_bytes: int

    @property
    def json(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(self.output)
        except ValueError as error:
            raise AssertionError(f"no JSON, status {self.status}: {self.errors}") from error
        return answer


def run(*arguments: str, seconds: float = 120) -> Answer:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=errors
        )
        watchdog = threading.Timer(seconds, process.kill)
        watchdog.start()
        # Not wait(): only this tells what the process and its children needed.
        _, status, usage = os.wait4(process.pid, 0)
        watchdog.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        said, complained = (_text(stream) for stream in (out, errors))
    return Answer(process.returncode, said, complained, usage.ru_maxrss << 10)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="backslashreplace")


def audit(uri: str, *instances: str, form: str = "json") -> Answer:
    chosen = [word for instance in instances for word in ("--instance", instance)]
    return run("audit", "--connect", uri, *chosen, "--format", form)


def explain(uri: str, instance: str, disk: str) -> Answer:
    return run("explain", "--connect", uri, instance, disk, "--json")

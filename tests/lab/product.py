# SPDX-License-Identifier: Apache-2.0
"""The product as an operator runs it: a command, its output, its exit status."""

import dataclasses
import json
import pathlib
import subprocess
import sys
from typing import Any

COMMAND = pathlib.Path(sys.executable).with_name("nova-diskaudit")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a run of the product said."""

    status: int
    output: str
    errors: str

    @property
    def json(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(self.output)
        except ValueError as error:
            raise AssertionError(f"no JSON, status {self.status}: {self.errors}") from error
        return answer


def run(*arguments: str, seconds: float = 120) -> Answer:
    done = subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Answer(
        done.returncode, done.stdout.decode(), done.stderr.decode(errors="backslashreplace")
    )


def audit(uri: str, *instances: str, form: str = "json") -> Answer:
    chosen = [word for instance in instances for word in ("--instance", instance)]
    return run("audit", "--connect", uri, *chosen, "--format", form)


def explain(uri: str, instance: str, disk: str) -> Answer:
    return run("explain", "--connect", uri, instance, disk, "--json")

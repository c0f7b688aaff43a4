# SPDX-License-Identifier: Apache-2.0
"""What a service waits for, also when it was stopped meanwhile."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

_PROGRAM = """
import signal
from nova_diskaudit import signals
inbox = signals.listen({signal.SIGTERM, signal.SIGHUP})
while True:
    found = signals.wait(inbox, 0.3)
    print(None if found is None else found.name, flush=True)
"""


@pytest.fixture
def waiting() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _signal(process: subprocess.Popen[str]) -> str:
    """What comes next that is a signal."""
    while (line := _line(process)) == "None":
        pass
    return line


def _state(process: subprocess.Popen[str]) -> str:
    stat = pathlib.Path(f"/proc/{process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


def test_a_signal(waiting: subprocess.Popen[str]) -> None:
    assert _line(waiting) == "None"
    os.kill(waiting.pid, signal.SIGHUP)
    assert _signal(waiting) == "SIGHUP"


def test_to_be_stopped_for_long_is_no_signal(waiting: subprocess.Popen[str]) -> None:
    assert _line(waiting) == "None"
    for _ in range(3):
        os.kill(waiting.pid, signal.SIGSTOP)
        while _state(waiting) != "T":
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(waiting.pid, signal.SIGCONT)
        assert (_line(waiting), _line(waiting)) == ("None", "None")
    os.kill(waiting.pid, signal.SIGTERM)
    assert _signal(waiting) == "SIGTERM"


def test_several_come_one_after_the_other(waiting: subprocess.Popen[str]) -> None:
    assert _line(waiting) == "None"
    os.kill(waiting.pid, signal.SIGHUP)
    os.kill(waiting.pid, signal.SIGTERM)
    assert {_signal(waiting), _signal(waiting)} == {"SIGHUP", "SIGTERM"}

# SPDX-License-Identifier: Apache-2.0
"""Processes as /proc shows them, on processes started here."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from nova_diskaudit.facts import Process
from nova_diskaudit.host import processes

UUID = "0f0f0f0f-0000-4000-8000-0000000000aa"

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Start]:
    """Start ``sleep`` under another name with more words on its command line."""
    started: list[subprocess.Popen[bytes]] = []

    def run(name: str, *words: str) -> subprocess.Popen[bytes]:
        binary = tmp_path / name
        if not binary.exists():
            shutil.copy("/usr/bin/python3", binary)
        process = subprocess.Popen(
            [binary, "-c", "import time; print(flush=True); time.sleep(600)", *words],
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def _process(pid: int) -> Process:
    return Process(pid=pid, start_ticks=processes._stat(pid)[1])


def test_a_qemu_is_found_by_its_uuid(start: Start) -> None:
    child = start("qemu-system-x86_64", "-name", "guest=a", "-uuid", UUID.upper(), "-m", "16")
    assert processes.processes()[UUID] == _process(child.pid)


def test_the_younger_of_two_is_meant(start: Start) -> None:
    start("qemu-system-x86_64", "-uuid", UUID)
    time.sleep(2 / os.sysconf("SC_CLK_TCK"))
    younger = start("qemu-system-x86_64", "-uuid", UUID)
    assert processes.processes()[UUID].pid == younger.pid


def test_other_programs_and_odd_words_are_not_taken(start: Start) -> None:
    start("something", "-uuid", UUID)
    start("qemu-a", "-uuid")
    start("qemu-b", "-uuid", "not-a-uuid")
    start("qemu-c", f"uuid={UUID}")
    assert UUID not in processes.processes()


def test_a_long_command_line_is_read_to_its_end(start: Start) -> None:
    start("qemu-system-x86_64", *["-device=" + "x" * 90] * 1000, "-uuid", UUID)
    assert UUID in processes.processes()


def test_start_ticks_tell_reuse_of_a_pid(start: Start) -> None:
    process = _process(start("qemu-x").pid)
    assert processes.exists(process)
    assert not processes.exists(Process(pid=process.pid, start_ticks=process.start_ticks + 1))


def test_an_ended_process_does_not_exist(start: Start) -> None:
    child = start("qemu-x")
    process = _process(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert not processes.exists(process)
    child.wait()
    assert not processes.exists(process)
    assert processes.why_silent(process) is None


def test_a_stopped_process_is_silent(start: Start) -> None:
    child = start("qemu-x")
    process = _process(child.pid)
    assert processes.why_silent(process) is None
    child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    assert "stopped" in (processes.why_silent(process) or "")
    child.send_signal(signal.SIGCONT)
    os.waitid(os.P_PID, child.pid, os.WCONTINUED)
    assert processes.why_silent(process) is None


@pytest.mark.parametrize(
    ("states", "told"),
    [("D" * 12, "waits for storage"), ("D" * 11 + "S", None), ("DDR", None), ("DDT", "stopped")],
)
def test_a_short_wait_for_storage_is_normal(
    states: str, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(states)
    monkeypatch.setattr(processes, "_stat", lambda pid: (next(looks), 1))
    monkeypatch.setattr(processes, "_PAUSE_SECONDS", 0)
    why = processes.why_silent(Process(pid=1, start_ticks=1))
    assert told in (why or "") if told else why is None


def test_a_name_with_parentheses_is_read_right(start: Start) -> None:
    child = start("qemu) R 1 (x")
    state, ticks = processes._stat(child.pid)
    assert state in "SR"
    assert ticks > 1

# SPDX-License-Identifier: Apache-2.0
"""libvirt's record of a domain: which file is taken for it. Real ones: tests/functional."""

from __future__ import annotations

import os
import pathlib
import time

import pytest

from nova_diskaudit.facts import Process, Signature
from nova_diskaudit.host import statusfile
from nova_diskaudit.host.storage import signature

SELF = Process(pid=os.getpid(), start_ticks=1)
TEXT = """<!--
WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE
OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:
  virsh edit fleet-0000
or other application using the libvirt API.
-->

<domstatus state='paused' reason='starting up' pid='{pid}'>
  <taint flag='high-privileges'/>
"""


@pytest.fixture
def directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(statusfile, "DIRECTORY", str(tmp_path))
    monkeypatch.setattr(signature, "_SETTLED_NANOSECONDS", 0)
    return tmp_path


def look(name: str = "a", process: Process = SELF) -> Signature | None:
    (found,) = statusfile.status_files([(name, process)])
    return found


def write(directory: pathlib.Path, pid: int = SELF.pid, name: str = "a") -> pathlib.Path:
    """As libvirt does: another file, which takes the place of the first."""
    path = directory / f"{name}.xml"
    fresh = directory / f"{name}.xml.new"
    fresh.write_text(TEXT.format(pid=pid))
    fresh.rename(path)
    return path


def test_the_record_of_this_qemu(directory: pathlib.Path) -> None:
    write(directory)
    before = look()
    assert before is not None and look() == before
    time.sleep(0.02)
    write(directory)
    assert look() != before


def test_those_of_several_in_their_order(directory: pathlib.Path) -> None:
    write(directory)
    write(directory, name="b")
    asked = [("b", SELF), ("none", SELF), ("a", SELF)]
    b, none, a = statusfile.status_files(asked)
    assert (b, none, a) == (look("b"), None, look("a"))
    assert b is not None and a is not None and b != a


def test_a_record_that_was_just_written_proves_nothing(
    directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(statusfile, "DIRECTORY", str(directory))
    write(directory)
    assert look() is None


@pytest.mark.parametrize("pid", [1, SELF.pid + 1, int(f"{SELF.pid}0"), int(f"1{SELF.pid}")])
def test_the_record_of_another_qemu(directory: pathlib.Path, pid: int) -> None:
    write(directory, pid)
    assert look() is None


def test_what_is_no_record(directory: pathlib.Path) -> None:
    assert look() is None
    path = write(directory)
    assert look("../" + directory.name + "/a") is None
    assert look("a\0b") is None
    assert look("x" * 300) is None
    assert look(process=Process(pid=2**22, start_ticks=1)) is None
    path.rename(directory / "elsewhere")
    path.symlink_to(directory / "elsewhere")
    assert look() is None
    path.unlink()
    os.mkfifo(path)
    assert look() is None
    path.unlink()
    path.mkdir()
    assert look() is None
    path.rmdir()
    path.write_bytes(b"")
    assert look() is None
    path.write_bytes(b"x" * 10_000 + TEXT.format(pid=SELF.pid).encode())
    assert look() is None

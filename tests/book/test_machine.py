# SPDX-License-Identifier: Apache-2.0
"""The view of the machine leaves the machine as it was."""

from __future__ import annotations

import pathlib
import subprocess
import sys

from tests.book import machine
from tests.services import place

_KILLED = """\
import os
from tests.book import machine
view = machine.Machine(disk_mib=64)
view.__enter__()
view.run("sleep 3600 &")
print(view.directory.name, flush=True)
os._exit(9)
"""


def test_what_is_written_and_started_ends_with_it() -> None:
    with machine.Machine(disk_mib=64) as view:
        view.run("echo changed > /etc/hostname; touch /etc/nova-diskaudit/new; sleep 3600 &")
        name = view.directory.name
        assert view.path("/etc/hostname").read_text() == "changed\n"
        assert pathlib.Path("/etc/hostname").read_text() != "changed\n"
        assert name in machine.members().values()
    assert name not in machine.members().values()
    assert not (place.root() / name).exists()
    assert name not in pathlib.Path("/proc/self/mountinfo").read_text()


def test_a_killed_run_is_cleaned_up_by_the_next() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _KILLED], cwd=machine.TOP, capture_output=True, text=True
    )
    assert done.returncode == 9, done.stderr
    name = done.stdout.strip()
    assert name in machine.members().values()
    with machine.Machine(disk_mib=64) as another:
        assert another.directory.name != name
        assert name not in machine.members().values()
        assert not (place.root() / name).exists()

# SPDX-License-Identifier: Apache-2.0
"""nova-diskaudit and its tests in the Python of another program."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping

from tests.services import place

TOP = pathlib.Path(__file__).parents[2]
#: Against a hang of the tests themselves.
_LONG = 600


def install(directory: pathlib.Path, *requirements: str) -> pathlib.Path:
    """Install nova-diskaudit as it is now into a directory for PYTHONPATH; that directory.

    With what it needs itself, and none of its extras: the program that it is to run in has those.

    :raises tests.services.place.ServiceError: when pip fails.
    """
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    place.run(*pip, "--target", str(directory), str(TOP), *requirements)
    return directory


def run(
    programs: pathlib.Path,
    installed: pathlib.Path,
    *words: str,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Python of the environment ``programs``, with what is installed and without this tree."""
    environment = {
        "HOME": os.environ.get("HOME", "/root"),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{programs / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONPATH": str(installed),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **(variables or {}),
    }
    return subprocess.run(
        [str(programs / "bin/python"), *words],
        cwd=TOP,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LONG,
        check=False,
    )


def passes(programs: pathlib.Path, installed: pathlib.Path, file: pathlib.Path) -> str:
    """Run a file of tests there; what pytest says, for the reason of a failure."""
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib")
    done = run(programs, installed, *words, f"--confcutdir={file.parent}", str(file))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout

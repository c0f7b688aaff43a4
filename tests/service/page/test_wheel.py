# SPDX-License-Identifier: Apache-2.0
"""What is installed has the page with it: files beside modules are easily left behind."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

from nova_diskaudit.api import page

TOP = pathlib.Path(__file__).parents[3]

_PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from nova_diskaudit.api import page
print(json.dumps([page.__file__, {name: file.tag for name, file in page.FILES.items()}]))
"""


def test_an_installed_wheel_has_all_files_of_the_page(tmp_path: pathlib.Path) -> None:
    # The version of a tree whose history is not there is not to be found.
    environ = {**os.environ, "PBR_VERSION": "0.0.0"}
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(TOP)],
        env=environ,
        check=True,
        timeout=300,
    )
    (wheel,) = tmp_path.glob("nova_diskaudit-*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    told = subprocess.run(
        [sys.executable, "-I", "-c", _PROGRAM, str(site)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    file, tags = json.loads(told)
    assert pathlib.Path(file).is_relative_to(site)
    assert tags == {name: found.tag for name, found in page.FILES.items()}

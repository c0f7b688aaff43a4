# SPDX-License-Identifier: Apache-2.0
"""Programs of a part that is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nova_diskaudit.cmd import extra

_SERVICE = ("keystonemiddleware", "oslo_config", "oslo_policy", "sqlalchemy")
_PROGRAMS = {
    "agent": ("agent", ("oslo_config", "oslo_log")),
    "api": ("api", _SERVICE),
    "manage": ("api", _SERVICE),
    "reconcile": ("api", _SERVICE),
    "status": ("api", (*_SERVICE, "oslo_upgradecheck")),
}
_CASES = [
    (program, name, missing)
    for program, (name, libraries) in _PROGRAMS.items()
    for missing in libraries
]
_RUN = """
import sys
sys.modules[sys.argv.pop(1)] = None
name = sys.argv.pop(1)
import importlib
sys.exit(importlib.import_module("nova_diskaudit.cmd." + name).main())
"""
_WORDS = {"manage": ("db", "sync"), "status": ("upgrade", "check"), "reconcile": ("--list",)}


@pytest.mark.parametrize(("program", "part", "missing"), _CASES)
def test_what_is_not_installed_is_named(program: str, part: str, missing: str) -> None:
    words = _WORDS.get(program, ())
    done = subprocess.run(
        [sys.executable, "-c", _RUN, missing, program, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"nova-diskaudit-{program}: the Python package {missing} is missing: "
        f"pip install 'nova-diskaudit[{part}]'\n"
    )


def test_a_module_of_ours_that_is_missing_is_a_defect() -> None:
    @extra.needed("program", "api")
    def main() -> int:
        raise ModuleNotFoundError("no", name="nova_diskaudit.nothing")

    with pytest.raises(ModuleNotFoundError):
        main()

# SPDX-License-Identifier: Apache-2.0
"""Which room knows which, held by import-linter; and what an import brings along."""

from __future__ import annotations

import configparser
import json
import logging.config
import pathlib
import subprocess
import sys

import pytest
from importlinter import cli

ROOT = pathlib.Path(__file__).parents[2]
CONTRACTS = ROOT / ".importlinter"

# Slow to import, or (libvirt, eventlet) not to be had in the process that waits for others.
HEAVY = {
    "eventlet",
    "jsonschema",
    "libvirt",
    "libvirt_qemu",
    "openstack",
    "oslo_config",
    "oslo_log",
    "prometheus_client",
    "rich",
}


def test_every_arrow_points_the_right_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    # It configures logging for a process of its own, and would silence all loggers of this one.
    monkeypatch.setattr(logging.config, "dictConfig", lambda told: None)
    status = cli.lint_imports(config_filename=str(CONTRACTS), no_cache=True)
    assert status == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_every_room_stands_in_a_contract() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(CONTRACTS)
    named = {
        word.removeprefix("nova_diskaudit.").partition(".")[0]
        for section in contracts.values()
        for value in section.values()
        for word in value.split()
        if word.startswith("nova_diskaudit.")
    }
    package = ROOT / "nova_diskaudit"
    rooms = {path.stem for path in package.glob("[a-z]*.py")}
    rooms |= {path.parent.name for path in package.glob("[a-z]*/__init__.py")}
    assert rooms <= named


def _brought_along(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(list(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stderr)}


@pytest.mark.parametrize(
    "statement",
    [
        "import nova_diskaudit.audit",
        "import nova_diskaudit.explain",
        "import nova_diskaudit.conf",
        "import nova_diskaudit.render.story",
        "import nova_diskaudit.render.as_json",
        "from nova_diskaudit.cmd import main; main.main(['--help'])",
        "from nova_diskaudit.cmd import main; main.main(['audit', '--help'])",
        "from nova_diskaudit.cmd import main; main.main(['schema'])",
    ],
)
def test_nothing_heavy_is_brought_along(statement: str) -> None:
    assert not _brought_along(statement) & HEAVY


def test_help_does_not_even_load_the_engine() -> None:
    loaded = _brought_along("from nova_diskaudit.cmd import main; main.main(['--help'])")
    assert not loaded & {"msgspec", "logging", "importlib_metadata", "pkg_resources", "pbr"}


def test_what_runs_on_a_compute_node_brings_no_database_and_no_framework() -> None:
    loaded = _brought_along("import nova_diskaudit.agent.service, nova_diskaudit.agent.transport")
    assert not loaded & {"alembic", "eventlet", "falcon", "keystonemiddleware", "sqlalchemy"}


def test_what_runs_in_nova_brings_no_hypervisor_and_no_green_threads() -> None:
    """But for Nova itself, which is not here; ``tests/plugins`` has the rest."""
    loaded = _brought_along("import nova_diskaudit.scheduler.source")
    assert not loaded & {"cotyledon", "eventlet", "futurist", "libvirt", "oslo_service"}
    loaded = _brought_along("import nova_diskaudit.scheduler.keeper, nova_diskaudit.conf.scheduler")
    assert not loaded & {"keystoneauth1", "libvirt", "openstack", "requests"}


def test_the_central_service_brings_no_hypervisor_and_no_green_threads() -> None:
    loaded = _brought_along(
        "import nova_diskaudit.api.app, nova_diskaudit.wsgi.server, nova_diskaudit.cmd.manage"
    )
    assert not loaded & {"cotyledon", "eventlet", "futurist", "libvirt", "oslo_service", "rich"}

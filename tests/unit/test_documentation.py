# SPDX-License-Identifier: Apache-2.0
"""What the documentation promises and generates."""

from __future__ import annotations

import configparser
import importlib.util
import pathlib
import pkgutil
import re
import types

import pytest

from nova_diskaudit import findings
from nova_diskaudit.cmd import main

GOLDEN = pathlib.Path("tests/service/commands/golden")
ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "doc/source").glob("*.rst"))]


@pytest.fixture(scope="module")
def catalogue() -> types.ModuleType:
    path = ROOT / "doc/source/_extensions/catalogue.py"
    spec = importlib.util.spec_from_file_location("catalogue", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_finding_stands_on_its_page_once(catalogue: types.ModuleType) -> None:
    lines = list(catalogue.all_findings())
    assert sorted(line for line in lines if line.startswith("``")) == sorted(
        f"``{code}``" for code in findings.CATALOGUE
    )
    assert catalogue.SEVERITIES == ("error", "warning", "info")


def test_words_of_a_finding_are_no_markup(
    catalogue: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = findings.Entry(code="c", severity="info", cause="dm-* and a_b `c`", action="x|y")
    monkeypatch.setattr(findings, "CATALOGUE", {"c": entry})
    assert "    dm-\\* and a\\_b \\`c\\`" in list(catalogue.all_findings())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_the_pages_name_exist(page: pathlib.Path) -> None:
    top = main.parser()
    commands = top._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    known = {option for command in commands.values() for option in command._option_string_actions}
    known |= set(top._option_string_actions)
    for line in re.findall(r"nova-diskaudit [^`\n]*", page.read_text()):
        for option in re.findall(r"(?<= )--[a-z-]+", line):
            assert option in known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_codes_that_the_pages_name_exist(page: pathlib.Path) -> None:
    families = ("agent", "guest", "storage", "filesystem", "evidence", "domain")
    for code in re.findall(r"`((?:[a-z]+-)+[a-z]+)`", page.read_text()):
        if code.partition("-")[0] in families and not code.startswith(("guest-get", "guest-info")):
            known = code in findings.CATALOGUE or code in ("guest-partial", "guest-fsfreeze-status")
            assert known, f"{page.name}: {code}"


@pytest.fixture(scope="module")
def client() -> dict[str, set[str]]:
    """The commands of OpenStack's client that are ours, each with its options."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    commands = {}
    for line in setup["entry_points"]["openstack.disk_audit.v1"].split("\n"):
        name, _, place = line.partition(" = ")
        if place:
            parser = pkgutil.resolve_name(place)(None, None).get_parser("openstack")
            commands[name.replace("_", " ")] = set(parser._option_string_actions)
    return commands


def test_every_command_of_the_client_stands_on_its_page(client: dict[str, set[str]]) -> None:
    page = (ROOT / "doc/source/cli.rst").read_text()
    assert client and all(f"``openstack {command}``" in page for command in client)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_client_that_the_pages_show_exist(
    page: pathlib.Path, client: dict[str, set[str]]
) -> None:
    for line in re.findall(r"openstack [^`\n]*\bdisk (?:usage|audit) [^`\n]*", page.read_text()):
        words = line.partition("  #")[0].partition(" disk ")[2]
        command = next((one for one in client if f"disk {words} ".startswith(f"{one} ")), None)
        assert command is not None, line
        for option in re.findall(r"(?<= )--?[a-z-]+", words):
            assert option in client[command], line


def test_the_readme_shows_what_a_tenant_reads() -> None:
    assert (ROOT / GOLDEN / "usage-show.table").read_text() in (ROOT / "README.md").read_text()

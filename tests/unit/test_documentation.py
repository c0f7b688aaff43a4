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
from nova_diskaudit.api import openapi, policies, routes
from nova_diskaudit.cmd import main

GOLDEN = pathlib.Path("tests/service/commands/golden")
ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "doc/source").glob("*.rst"))]


def _extension(name: str) -> types.ModuleType:
    path = ROOT / f"doc/source/_extensions/{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def catalogue() -> types.ModuleType:
    return _extension("catalogue")


@pytest.fixture(scope="module")
def apiref() -> types.ModuleType:
    return _extension("apiref")


def test_every_call_has_a_section_with_its_policies(apiref: types.ModuleType) -> None:
    text = "\n".join(apiref.reference())
    rules = {rule.name: rule for rule in policies.list_rules()}
    for route in routes.ROUTES:
        section = text.partition(f"\n{route.method} {apiref._plain(route.path)}\n")[2]
        section = section.partition("\n.. _api-")[0]
        assert route.summary in section
        for name in route.access:
            assert f"``{name}``\n     - ``{rules[name].check_str}``" in section
        operation = openapi.document()["paths"][route.path][route.method.lower()]
        for one in operation["parameters"]:
            assert f"``{one['name']}``\n     - {one['in']}\n" in section
        for status in operation["responses"]:
            assert f"   * - {status}\n" in section


def test_every_object_that_is_mentioned_has_a_section_and_its_fields(
    apiref: types.ModuleType,
) -> None:
    lines = [*apiref.reference(), *apiref.objects()]
    text = "\n".join(lines)
    mentioned = set(re.findall(r"<(api-object-[a-z.-]+)>", text))
    assert mentioned == set(re.findall(r"^\.\. _(api-object-[a-z.-]+):$", text, re.MULTILINE))
    for name, schema in openapi.document()["components"]["schemas"].items():
        if f"api-object-{apiref._label(name)}" in mentioned:
            section = text.partition(f".. _api-object-{apiref._label(name)}:")[2]
            section = section.partition("\n.. _api-")[0]
            for field in schema.get("properties", ()):
                assert f"``{field}``" in section


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "whole number, 1 to 9"),
        ({"type": "integer", "minimum": 0}, "whole number, at least 0"),
        ({"type": "string", "format": "date-time"}, "time (RFC 3339)"),
        ({"enum": ["a", None]}, "``a`` or null"),
        ({"type": "array", "items": {"type": "string"}}, "list of text"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "true or false or null"),
        (
            {"type": "string", "pattern": "^(a|b)(:(asc|desc))?$"},
            "one of ``a``, ``b``; ``:asc`` or ``:desc`` may follow",
        ),
        (
            {"type": "string", "pattern": "^(a|b)(,(a|b))*$"},
            "some of ``a``, ``b``, with commas between",
        ),
    ],
)
def test_what_a_value_may_be(
    apiref: types.ModuleType, schema: dict[str, object], words: str
) -> None:
    assert apiref._kind(schema, of_text=True) == words


def test_every_finding_stands_on_its_page_once(catalogue: types.ModuleType) -> None:
    lines = list(catalogue.all_findings())
    assert sorted(line for line in lines if line.startswith("``")) == sorted(
        f"``{code}``" for code in findings.CATALOGUE
    )
    assert catalogue.SEVERITIES == ("error", "warning", "info")
    assert "\n.. findings-catalogue::\n" in (ROOT / "doc/source/findings.rst").read_text()


def test_every_finding_is_explained_and_has_a_remedy(catalogue: types.ModuleType) -> None:
    lines = list(catalogue.all_findings())
    for entry in findings.CATALOGUE.values():
        at = lines.index(f"``{entry.code}``")
        assert lines[at - 2] == f".. _finding-{entry.code}:"
        assert lines[at + 1] == f"    {catalogue._plain(entry.cause)}"
        assert lines[at + 3] == f"    *To do:* {catalogue._plain(entry.action)}"
        assert entry.cause and entry.action


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

# SPDX-License-Identifier: Apache-2.0
"""The catalogue is closed: every code is used, every code in use is in it, and each reads well."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

import nova_diskaudit
from nova_diskaudit.findings import CATALOGUE, Entry, finding

PACKAGE = pathlib.Path(nova_diskaudit.__file__).parent
CATALOGUE_FILE = PACKAGE / "findings.py"
MODULES = sorted(PACKAGE.rglob("*.py"))
ENTRIES = list(CATALOGUE.values())
# Said between processes only: whoever receives them puts a code of the catalogue in their place.
WIRE_ONLY = {"internal-error"}
# What takes a code: as ``code=``, or first.
_CARRIERS = {"finding", "Doubt", "LayerFacts", "LaneRefused"}


def nodes() -> Iterator[tuple[pathlib.Path, ast.AST]]:
    for path in MODULES:
        if path != CATALOGUE_FILE:
            for node in ast.walk(ast.parse(path.read_text())):
                yield path, node


def name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def codes_given() -> Iterator[tuple[str, str]]:
    """Every literal that is handed to something as a code: (code, where)."""
    for path, node in nodes():
        if not isinstance(node, ast.Call) or name_of(node.func) not in _CARRIERS:
            continue
        given = [k.value for k in node.keywords if k.arg == "code"]
        if name_of(node.func) in ("finding", "LaneRefused"):
            given += node.args[:1]
        for value in given:
            for part in ast.walk(value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value, f"{path.name}:{part.lineno}"


def strings() -> set[str]:
    return {
        node.value
        for _, node in nodes()
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_code_of_the_catalogue_is_used() -> None:
    assert set(CATALOGUE) - strings() == set()


def test_every_code_that_is_given_is_in_the_catalogue() -> None:
    given = list(codes_given())
    assert len({code for code, _ in given}) > 20, "the search found too little to prove anything"
    assert [(c, at) for c, at in given if c not in CATALOGUE and c not in WIRE_ONLY] == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)
def test_cause_is_one_sentence(entry: Entry) -> None:
    assert entry.cause.endswith(".")
    assert entry.cause[0].isupper() or entry.cause.startswith("libvirt ")
    inside = entry.cause[:-1].replace("virtio.", "")
    assert not re.search(r"[.!?](?=\s+[A-Z])", inside), "more than one sentence"
    assert "\n" not in entry.cause
    assert "  " not in entry.cause


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)
def test_action_tells_what_to_do_in_sentences(entry: Entry) -> None:
    assert entry.action.endswith((".", ".)"))
    assert entry.action[0].isupper()
    assert "\n" not in entry.action
    assert "  " not in entry.action


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)
def test_code_is_a_name_that_can_be_a_label(entry: Entry) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", entry.code)
    assert CATALOGUE[entry.code] is entry


def test_no_two_findings_say_the_same() -> None:
    assert len({entry.cause for entry in ENTRIES}) == len(ENTRIES)


def test_what_a_guest_says_is_never_an_error_of_the_host() -> None:
    of_guests = [e for e in ENTRIES if e.code.startswith(("agent-", "guest-", "filesystem-"))]
    assert len(of_guests) > 10
    assert {e.severity for e in of_guests} <= {"info", "warning"}


def test_a_finding_carries_cause_and_detail() -> None:
    entry = CATALOGUE["agent-timeout"]
    assert finding("agent-timeout").message == entry.cause
    told = finding("agent-timeout", "no answer in 3 s")
    assert told.message == f"{entry.cause} (no answer in 3 s)"
    assert (told.code, told.severity) == ("agent-timeout", entry.severity)


def test_an_unknown_code_is_refused() -> None:
    with pytest.raises(KeyError):
        finding("no-such-code")

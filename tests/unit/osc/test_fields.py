# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shlex
import subprocess
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_diskaudit.osc import fields
from nova_diskaudit.osc.fields import Field

FIELDS = (
    fields.plain("ID", "uuid"),
    Field("Guest says", ("used_bytes", "unknown"), lambda row: f"{row['used_bytes']} B", True),
    fields.count("Disks", "disks"),
    fields.plain("Findings", "findings"),
)
ROW = {"uuid": "a", "used_bytes": 7, "unknown": 0, "disks": None, "findings": ["x", "y"]}

#: Everything that is a character, and much that is none.
any_text = st.text(st.characters(exclude_categories=()), max_size=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=10,
)


def test_people_get_headings_and_programs_get_keys() -> None:
    assert fields.headings(FIELDS, "table") == ["ID", "Guest says", "Disks", "Findings"]
    keys = ["uuid", "used_bytes", "unknown", "disks", "findings"]
    for form in ("json", "yaml", "csv", "value", "shell"):
        assert fields.headings(FIELDS, form) == keys


@pytest.mark.parametrize(
    ("name", "on_terminal", "for_programs"),
    [
        ("ID", "ID", "uuid"),
        ("id", "ID", "uuid"),
        ("guest_says", "Guest says", "used_bytes"),
        ("Guest Says", "Guest says", "used_bytes"),
        ("used_bytes", "Guest says", "used_bytes"),
        ("unknown", "Guest says", "unknown"),
        ("nonsense", "nonsense", "nonsense"),
    ],
)
def test_columns_go_by_both_names(name: str, on_terminal: str, for_programs: str) -> None:
    assert fields.named(FIELDS, [name], "table") == [on_terminal]
    assert fields.named(FIELDS, [name], "json") == [for_programs]


def test_numbers_stand_below_each_other_and_sort_by_their_value() -> None:
    rows = [ROW, {**ROW, "used_bytes": 100, "disks": 2}]
    table = fields.for_people(FIELDS, rows, "utf-8")
    assert [cell.text for cell in table[0]] == ["a", "  7 B", "-", "x y"]
    assert [cell.text for cell in table[1]] == ["a", "100 B", "2", "x y"]
    assert [cells[1].value for cells in table] == [7, 100]


def test_the_unknown_is_null_and_never_0() -> None:
    [row] = fields.for_programs(FIELDS, [ROW], "json", "utf-8")
    assert row == ["a", 7, 0, None, ["x", "y"]]
    for form in ("csv", "value", "shell"):
        assert fields.for_programs(FIELDS, [ROW], form, "utf-8") == [["a", 7, 0, None, "x,y"]]


@given(any_text)
def test_json_and_yaml_get_the_text_itself(text: str) -> None:
    for form in ("json", "yaml"):
        assert fields.for_programs([fields.plain("T", "t")], [{"t": text}], form, "utf-8") == [
            [text]
        ]


@given(values, st.sampled_from(["utf-8", "latin-1", "ascii"]))
def test_whatever_is_shown_is_harmless(value: Any, encoding: str) -> None:
    field = fields.plain("T", "t")
    [[cell]] = fields.for_people([field], [{"t": value}], encoding)
    _check_harmless(cell.text, encoding)
    for form in ("csv", "value", "shell"):
        [[flat]] = fields.for_programs([field], [{"t": value}], form, encoding)
        _check_harmless(str(flat), encoding)


@given(any_text)
@settings(max_examples=60)
def test_a_shell_reads_back_the_text_and_runs_none_of_it(text: str) -> None:
    field = fields.plain("T", "t")
    [[quoted]] = fields.for_programs([field], [{"t": text}], "shell", "utf-8")
    [[shown]] = fields.for_programs([field], [{"t": text}], "value", "utf-8")
    escaped = quoted.replace('"', '\\"')  # as the client's formatter does
    assert _in_a_shell(f'x="{escaped}"') == shown


@pytest.mark.parametrize(
    "text", ["$(echo hi)", "`echo hi`", "${HOME}", "\\$(echo hi)", '"; echo hi; "']
)
def test_substitutions_stay_names(text: str) -> None:
    [[quoted]] = fields.for_programs([fields.plain("T", "t")], [{"t": text}], "shell", "utf-8")
    escaped = quoted.replace('"', '\\"')
    assert _in_a_shell(f'x="{escaped}"') == text


def _in_a_shell(assignment: str) -> str:
    script = f'eval {shlex.quote(assignment)}; printf %s "$x"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=60)
    return done.stdout.decode()


def _check_harmless(text: str, encoding: str) -> None:
    text.encode(encoding)
    for character in text:
        category = unicodedata.category(character)
        assert category[0] != "C" and category not in ("Zl", "Zp"), hex(ord(character))

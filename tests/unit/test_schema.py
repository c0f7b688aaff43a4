# SPDX-License-Identifier: Apache-2.0
"""The published JSON Schema is the one of record.py, and describes what is really printed."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jsonschema
import pytest

from nova_diskaudit import record
from nova_diskaudit.render import as_json
from tests.unit.render import sample

PUBLISHED = (
    pathlib.Path(__file__).parents[2] / f"doc/source/schema/report-{record.SCHEMA_VERSION}.json"
)


@pytest.fixture
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(PUBLISHED.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(as_json.render(sample.report()))
    return document


def test_the_published_schema_is_that_of_the_records() -> None:
    assert PUBLISHED.read_text() == as_json.schema(), (
        f"nova-diskaudit schema > {PUBLISHED.relative_to(pathlib.Path.cwd())}"
    )


def test_reports_are_valid(validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(_document())
    validator.validate(json.loads(as_json.render(sample.not_utf8())))


def _without_host(document: dict[str, Any]) -> None:
    del document["host"]


def _negative_bytes(document: dict[str, Any]) -> None:
    document["instances"][0]["disks"][0]["host_allocated_bytes"] = -1


def _size_as_text(document: dict[str, Any]) -> None:
    document["instances"][0]["disks"][0]["virtual_bytes"] = "2 GiB"


def _invented_kind(document: dict[str, Any]) -> None:
    document["instances"][0]["disks"][0]["kind"] = "tape"


def _unknown_without_its_key(document: dict[str, Any]) -> None:
    del document["instances"][0]["disks"][0]["backing_bytes"]


@pytest.mark.parametrize(
    "spoil",
    [_without_host, _negative_bytes, _size_as_text, _invented_kind, _unknown_without_its_key],
)
def test_what_is_wrong_is_refused(spoil: Any, validator: jsonschema.Draft202012Validator) -> None:
    document = _document()
    spoil(document)
    assert not validator.is_valid(document)

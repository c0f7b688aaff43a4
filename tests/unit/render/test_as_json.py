# SPDX-License-Identifier: Apache-2.0
import json

import msgspec

from nova_diskaudit import record
from nova_diskaudit.render import as_json
from tests.unit.render import golden, sample


def test_golden() -> None:
    golden.check("report.json", as_json.render(sample.report(), pretty=True))


def test_the_document_is_the_record() -> None:
    for pretty in (True, False):
        document = as_json.render(sample.report(), pretty=pretty)
        assert msgspec.json.decode(document, type=record.HostReport) == sample.report()


def test_compact_is_one_line_and_times_end_in_z() -> None:
    document = as_json.render(sample.report())
    assert document.count("\n") == 1 and document.endswith("}\n")
    assert json.loads(document)["as_of"] == "2026-11-23T12:00:00.250000Z"


def test_a_terminal_cannot_be_moved_by_it() -> None:
    document = as_json.render(sample.report(), pretty=True)
    assert all(line.isprintable() for line in document.split("\n"))
    assert "\u3164" not in document


def test_a_file_name_that_is_not_utf8_does_not_spoil_the_report() -> None:
    document = json.loads(as_json.render(sample.not_utf8()))
    assert document["storages"][0]["leftovers"][0]["name"] == "caf\\udce9.qcow2"

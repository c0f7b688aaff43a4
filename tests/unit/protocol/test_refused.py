# SPDX-License-Identifier: Apache-2.0
"""What ``decode_report`` refuses, and what it does not."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import pytest

from nova_diskaudit import protocol
from tests.contract import reports

GOOD = reports.full(reports.state(id="00000000-0000-4000-8000-abcdefabcdef"))
BODIES = reports.bad_bodies(GOOD)


def decode(data: bytes) -> protocol.Report:
    return protocol.decode_report(data, path_host="compute-1")


@pytest.mark.parametrize("name", reports.BAD)
def test_what_is_no_report_is_refused_in_one_short_clause(name: str) -> None:
    with pytest.raises(protocol.ReportInvalid) as caught:
        decode(BODIES[name])
    text = str(caught.value)
    assert caught.value.status == 400
    assert 0 < len(text) <= 200 and text.isprintable()


def test_a_good_one_is_taken_as_it_was() -> None:
    assert decode(protocol.encode(GOOD)) == GOOD


def test_blanks_order_and_escapes_make_no_difference() -> None:
    document = reports.document(GOOD)
    backwards = dict(reversed(document.items()))
    text = json.dumps(backwards, indent=3).replace("compute", "\\u0063ompute")
    assert decode(text.encode()) == GOOD


def test_fields_of_a_newer_schema_are_ignored() -> None:
    document = reports.document(GOOD) | {"schema": "1.17", "new": {"a": [1.5, None, "\\n"]}}
    document["instances"][0]["disks"][0]["new"] = 2**63 - 1
    assert decode(json.dumps(document).encode()).instances == GOOD.instances


def test_the_largest_numbers_are_numbers() -> None:
    document = reports.document(GOOD)
    triple = document["instances"][0]["disks"][0]["libvirt"]
    triple |= {"capacity": 2**63 - 1, "allocation": -(2**63)}
    found = decode(json.dumps(document).encode()).instances[0].disks[0].libvirt
    assert found is not None and (found.capacity, found.allocation) == (2**63 - 1, -(2**63))


def test_backslashes_are_no_control_characters() -> None:
    names = ("\\n", "\\\\u0000", "a\\", '\\"', "\\\\\\b", "\N{SYMBOL FOR NULL}", "\x7f\x9f")
    for name in names:
        document = reports.document(GOOD)
        document["instances"][0]["domain"] = name
        for text in (json.dumps(document), json.dumps(document, ensure_ascii=False)):
            assert decode(text.encode()).instances[0].domain == name


@pytest.mark.parametrize(
    ("host", "well"), [("h" * 255, True), ("h" * 256, False), ("", False), ("nœud 1", True)]
)
def test_host_names(host: str, well: bool) -> None:
    data = protocol.encode(reports.full(reports.state(host=host)))
    if well:
        assert protocol.decode_report(data, path_host=host).host == host
    else:
        with pytest.raises(protocol.ReportInvalid, match="host name"):
            protocol.decode_report(data, path_host=host)


def test_too_many_instances() -> None:
    most = protocol.MAX_INSTANCES + 1
    gone = [reports.uuid_of(number) for number in range(most)]
    document = reports.document(GOOD) | {"kind": "delta", "replaces": reports.new_id()}
    document["instances"] = []
    with pytest.raises(protocol.ReportInvalid, match="20000 instances"):
        decode(json.dumps(document | {"gone": gone}).encode())
    assert len(decode(json.dumps(document | {"gone": gone[1:]}).encode()).gone) == most - 1


# --- unpacking -------------------------------------------------------------------------------


def test_plain_and_packed_are_the_same() -> None:
    data = protocol.encode(GOOD)
    packed = gzip.compress(data)
    for body, encoding in ((data, ""), (data, "Identity"), (packed, "gzip"), (packed, " X-GZIP")):
        assert protocol.unpack(body, encoding) == data


def test_the_size_is_that_of_the_unpacked() -> None:
    most = protocol.MAX_REPORT_BYTES
    assert len(protocol.unpack(gzip.compress(bytes(most)), "gzip")) == most
    assert len(protocol.unpack(bytes(most), "")) == most
    for body, encoding in ((gzip.compress(bytes(most + 1)), "gzip"), (bytes(most + 1), "")):
        with pytest.raises(protocol.ReportTooLarge) as caught:
            protocol.unpack(body, encoding)
        assert caught.value.status == 413


def test_a_bomb_does_not_go_off() -> None:
    bomb = gzip.compress(bytes(2**28), 1)
    assert len(bomb) < 2 * 2**20
    tracemalloc.start()
    try:
        with pytest.raises(protocol.ReportTooLarge):
            protocol.unpack(bomb, "gzip")
        assert tracemalloc.get_traced_memory()[1] < 4 * protocol.MAX_REPORT_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}")[:-9] + bytes(9),
        gzip.compress(b"{}") + b"x",
        gzip.compress(b"{}") + gzip.compress(b"{}"),
    ],
    ids=["nothing", "plain", "cut", "wrong sum", "more", "two of them"],
)
def test_gzip_that_is_none(body: bytes) -> None:
    with pytest.raises(protocol.ReportInvalid, match="gzip") as caught:
        protocol.unpack(body, "gzip")
    assert caught.value.status == 400


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_other_encodings(encoding: str) -> None:
    with pytest.raises(protocol.EncodingUnknown) as caught:
        protocol.unpack(b"", encoding)
    assert caught.value.status == 415


@pytest.mark.parametrize(
    "filler",
    [
        b"\\",
        b"{},",
        b'[{"":""}],               ',
        b'{"":{}},',
        b"[],",
        b"0,",
        b'"",',
        b"1" * 19 + b",",
        b'{"a":0},',
    ],
    ids=repr,
)
def test_looking_takes_a_bounded_multiple_of_what_is_looked_at(filler: bytes) -> None:
    """The largest bodies of the worst kinds, in fields that nobody knows."""
    good = protocol.encode(GOOD)
    room = protocol.MAX_REPORT_BYTES - len(good) - 100
    many = filler * (room // len(filler) // 2 * 2)
    value = b'"' + many + b'"' if filler == b"\\" else b"[" + many + b"0]"
    body = good[:-1] + b',"new":' + value + b"}"
    tracemalloc.start()
    try:
        try:
            decode(body)
        except protocol.ReportInvalid as error:
            assert "more than" in str(error)
        assert tracemalloc.get_traced_memory()[1] < 16 * protocol.MAX_REPORT_BYTES
    finally:
        tracemalloc.stop()

# SPDX-License-Identifier: Apache-2.0
"""Bodies that no agent of ours sends: refused with a clear 4xx, cheaply, and nothing is written.

What they cost is measured where it can be, by the highest memory of the service's processes.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from nova_diskaudit import protocol
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import schema
from tests import reports
from tests.service import faults, wire
from tests.services.api import Api, LocalApi
from tests.services.sqlite import Sqlite

HOST = "compute-1"
TARGET = f"/v1/hosts/{HOST}/report"
MIB = 2**20

#: What reading a body may cost beside the largest that has to be taken: bytes, text and structs
#: of a report are there at the same time.
MOST_BYTES = 12 * protocol.MAX_REPORT_BYTES


@pytest.fixture(scope="module")
def engine(sqlite: Sqlite) -> Iterator[sa.Engine]:
    made = store_engine.create(sqlite.create_database("hostile"))
    schema.sync(made)
    yield made
    made.dispose()


@pytest.fixture(scope="module", params=["uwsgi", "waitress"])
def api(engine: sa.Engine, request: pytest.FixtureRequest) -> Iterator[Api]:
    """Without Keystone, since who sends it is not the question here. One process, to measure it."""
    settings = {
        "api": {"auth_strategy": "noauth"},
        "database": {"connection": str(engine.url)},
    }
    made = Api(settings, processes=1) if request.param == "uwsgi" else LocalApi(settings)
    with made as some:
        yield some


@pytest.fixture(autouse=True)
def untouched(api: Api, engine: sa.Engine) -> Iterator[None]:
    """Nothing is written, and the service goes on."""
    before = faults.content(engine)
    workers = api.workers()
    yield
    assert faults.content(engine) == before
    assert wire.ask(api.port, "GET", "/healthcheck").status == 200
    assert api.workers() == workers, "a process of the service died"


def put(
    api: Api,
    body: bytes | Iterable[bytes] | None,
    *headers: tuple[str, str],
    content_type: str | None = "application/json",
) -> wire.Answer:
    words = [*headers]
    if content_type is not None:
        words.append(("Content-Type", content_type))
    return wire.ask(api.port, "PUT", TARGET, headers=words, body=body)


def refused(answer: wire.Answer, status: int, code: str | None = None) -> None:
    assert answer.status == status, answer.body
    assert code in (None, answer.code)


def plain() -> dict[str, Any]:
    """A report as JSON's values, to be spoilt."""
    state = reports.state(HOST, (reports.instance("one"),))
    decoded: dict[str, Any] = json.loads(protocol.encode(reports.full(state)))
    return decoded


def spoilt(path: tuple[Any, ...], value: Any) -> bytes:
    """A report with another value in one place; text of JSON, if ``value`` is bytes."""
    report = plain()
    inner: Any = report
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = "@@" if isinstance(value, bytes) else value
    text = json.dumps(report).encode()
    return text.replace(b'"@@"', value) if isinstance(value, bytes) else text


DISK = ("instances", 0, "disks", 0)
NUMBER = (*DISK, "host_allocated_bytes")
WORD = ("instances", 0, "domain")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (NUMBER, b"NaN"),
        (NUMBER, b"Infinity"),
        (NUMBER, b"-Infinity"),
        (NUMBER, b"1e400"),
        (NUMBER, b"1e3"),
        (NUMBER, b"1.5"),
        (NUMBER, b"-0.0"),
        (NUMBER, b"0x10"),
        (NUMBER, b"01"),
        (NUMBER, 2**63),
        (NUMBER, 2**64),
        (NUMBER, 10**4000),
        (NUMBER, -1),
        (NUMBER, True),
        (NUMBER, "1"),
        (NUMBER, []),
        (("instances", 0, "filesystems", 0, "used_bytes"), 2**63),
        (("instances", 0, "filesystems", 0, "used_bytes"), -(2**63) - 1),
        (WORD, "a\0b"),
        (WORD, "\n"),
        (WORD, b'"\\u0000"'),
        (WORD, b'"\\ud800"'),
        (WORD, b'"\\udfff\\ud800"'),
        (WORD, b'"\xed\xa0\x80"'),
        (WORD, b'"\xff"'),
        (WORD, b'"\xc0\x80"'),
        (WORD, b'"a\x00b"'),
        (WORD, b'"unclosed'),
        (WORD, None),
        (("instances", 0, "uuid"), "ONE"),
        (("instances", 0, "uuid"), reports.uuid_of("one").upper()),
        (("instances", 0, "uuid"), "{" + reports.uuid_of("one")[:-2] + "}"),
        (("id",), ""),
        (("id",), None),
        (("agent",), "me"),
        (("replaces",), ""),
        (("host",), "compute-2"),
        (("host",), ""),
        (("schema",), "2.0"),
        (("schema",), ""),
        (("kind",), "half"),
        (("as_of",), "yesterday"),
        (("as_of",), "2026-01-01T00:00:00"),
        (("as_of",), "9999-12-31T23:59:59.999999+99:99"),
        (("as_of",), 0),
        (("sent_at",), "0000-01-01T00:00:00Z"),
        (("gone",), [reports.uuid_of("one")]),
        (("instances",), {}),
        (("instances",), None),
        (("instances", 0, "disks"), [{}]),
        (("instances", 0, "state"), "dancing"),
        (("storages",), [None]),
        (("findings",), [{"code": "x" * 65, "severity": "info", "message": ""}]),
        (("findings",), [{"code": "a b", "severity": "info", "message": ""}]),
        (("findings",), [{"code": "a", "severity": "fatal", "message": ""}]),
    ],
)
def test_one_value_that_cannot_be(api: Api, path: tuple[Any, ...], value: Any) -> None:
    body = spoilt(path, value)
    refused(put(api, body), 400, "report-invalid")
    refused(put(api, gzip.compress(body), ("Content-Encoding", "gzip")), 400, "report-invalid")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"0",
        b'"report"',
        b"{",
        b"{}",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"{" * 100_000,
        b"[" * 1_000_000,
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        b'{"instances": ' + b"[" * 300_000,
        b"9" * 1_000_000,
        b'{"id": 1' + b"0" * 5_000_000 + b"}",
        random.Random(3).randbytes(100_000),
    ],
    ids=lambda body: f"{body[:12]!r}...{len(body)}",
)
def test_what_is_no_report_at_all(api: Api, body: bytes) -> None:
    refused(put(api, body), 400)


def test_the_same_key_twice_and_the_same_thing_twice(api: Api) -> None:
    report = plain()
    report["instances"] *= 2
    refused(put(api, json.dumps(report).encode()), 400, "report-invalid")
    report = plain()
    report["storages"] *= 2
    refused(put(api, json.dumps(report).encode()), 400, "report-invalid")
    report = plain()
    report["instances"][0]["disks"] *= 2
    refused(put(api, json.dumps(report).encode()), 400, "report-invalid")


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd", "x-gzip;q=1", "GZIP!"])
def test_packed_in_another_way(api: Api, encoding: str) -> None:
    refused(put(api, b"{}", ("Content-Encoding", encoding)), 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/xml", "multipart/form-data"]
)
def test_of_another_type(api: Api, content_type: str | None) -> None:
    refused(put(api, b"{}", content_type=content_type), 415, "unsupported-media-type")


def test_broken_gzip(api: Api) -> None:
    good = gzip.compress(json.dumps(plain()).encode())
    rotten = bytearray(good)
    rotten[-5] ^= 0xFF  # the checksum
    for body in (good[:-9], good[:20], bytes(rotten), good + b"more", good + good, b"", b"{}"):
        refused(put(api, body, ("Content-Encoding", "gzip")), 400, "bad-request")


def bomb(unpacked_mib: int) -> bytes:
    """A gzip of many spaces: one piece that stands for itself, packed once and repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    header = b"\x1f\x8b\x08" + bytes(7)
    return header + piece * unpacked_mib + packer.flush() + bytes(8)


@pytest.mark.parametrize("unpacked_mib", [17, 1024, 12 * 1024])
def test_a_gzip_bomb(api: Api, unpacked_mib: int) -> None:
    body = bomb(unpacked_mib)
    assert len(body) < protocol.MAX_REPORT_BYTES
    api.forget_peak()
    before = api.peak_bytes()
    refused(put(api, body, ("Content-Encoding", "gzip")), 413, "too-large")
    assert api.peak_bytes() - before < 2 * protocol.MAX_REPORT_BYTES


def test_a_bomb_of_structure(api: Api) -> None:
    """16 MiB of the smallest values that JSON has, where some are expected."""
    api.forget_peak()
    before = api.peak_bytes()
    for piece, key in ((b"0,", b"gone"), (b"{},", b"instances"), (b'"",', b"gone"), (b"[],", b"x")):
        many = (protocol.MAX_REPORT_BYTES - 100) // len(piece)
        body = b'{"' + key + b'": [' + piece * many + b"0]}"
        refused(put(api, gzip.compress(body, 1), ("Content-Encoding", "gzip")), 400)
    assert api.peak_bytes() - before < MOST_BYTES


def test_a_hundred_megabytes(api: Api) -> None:
    """Refused by its length, before it is read."""
    api.forget_peak()
    before = api.peak_bytes()
    for size in (100 * MIB, protocol.MAX_REPORT_BYTES + MIB):
        pieces = (b" " * MIB for _ in range(size // MIB))
        refused(put(api, pieces, ("Content-Length", str(size))), 413)
    assert api.peak_bytes() - before < 2 * MIB


def test_a_length_that_is_none(api: Api) -> None:
    refused(put(api, None), 411, "length-required")
    chunked = (b"2\r\n{}\r\n", b"0\r\n\r\n")
    answer = put(api, chunked, ("Transfer-Encoding", "chunked"))
    assert answer.status in (400, 411)
    for length in ("-1", "1e3", "0x10", "99999999999999999999", "1, 2", "one"):
        try:
            answer = put(api, (b"{}",), ("Content-Length", length))
        except (ConnectionError, IndexError):
            continue  # hung up on
        assert answer.status in (400, 411, 413), length
    # Two lengths, as in a smuggled request.
    try:
        answer = put(api, (b"{}",), ("Content-Length", "2"), ("Content-Length", "200000"))
    except (ConnectionError, IndexError):
        return
    assert 400 <= answer.status < 500

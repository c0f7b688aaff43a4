# SPDX-License-Identifier: Apache-2.0
"""What a guest may send: real replies are read, anything else is refused and does no harm."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.facts import GuestDevice, GuestDisk, GuestFilesystem
from nova_diskaudit.guest import parse

READERS: list[Callable[[bytes], object]] = [
    parse.filesystems,
    parse.disks,
    parse.version,
    parse.freeze_status,
]


def reply(value: object) -> bytes:
    return json.dumps({"return": value}).encode()


def address(**changed: Any) -> dict[str, Any]:
    return {
        "serial": "0QEMU_QEMU_HARDDISK_drive-scsi0-0-0-1",
        "bus-type": "scsi",
        "bus": 0,
        "unit": 1,
        "pci-controller": {"bus": 0, "slot": 5, "domain": 0, "function": 0},
        "dev": "/dev/sdb1",
        "target": 0,
    } | changed


def filesystem(**changed: Any) -> dict[str, Any]:
    return {
        "name": "sdb1",
        "total-bytes": 1023303680,
        "mountpoint": "/srv",
        "disk": [address()],
        "used-bytes": 24576,
        "type": "ext4",
    } | changed


def test_a_reply_of_7_2_is_read_whole() -> None:
    assert parse.filesystems(reply([filesystem()])) == (
        GuestFilesystem(
            name="sdb1",
            mountpoint="/srv",
            type="ext4",
            used_bytes=24576,
            total_bytes=1023303680,
            size_bytes=None,
            devices=(
                GuestDevice(
                    dev="/dev/sdb1",
                    serial="0QEMU_QEMU_HARDDISK_drive-scsi0-0-0-1",
                    address="drive:0000:00:05.0:0:0:1",
                ),
            ),
        ),
    )


def test_a_reply_of_9_1_says_how_large_the_filesystem_is() -> None:
    (read,) = parse.filesystems(reply([filesystem(**{"total-bytes-privileged": 1073741824})]))
    assert read.size_bytes == 1073741824


def test_a_reply_of_2_12_has_neither_bytes_nor_serial_nor_device() -> None:
    old = filesystem(disk=[address()])
    for missing in ("used-bytes", "total-bytes"):
        del old[missing]
    for missing in ("serial", "dev"):
        del old["disk"][0][missing]
    (read,) = parse.filesystems(reply([old]))
    assert (read.used_bytes, read.total_bytes, read.size_bytes) == (None, None, None)
    assert read.devices == (GuestDevice(dev=None, serial=None, address="drive:0000:00:05.0:0:0:1"),)


def test_a_windows_volume_is_read() -> None:
    name = "\\\\?\\Volume{0f9b4c2e-0000-0000-0000-602200000000}\\"
    volume = filesystem(
        name=name,
        mountpoint="C:\\",
        type="NTFS",
        disk=[address(dev="\\\\.\\PhysicalDrive0", serial=None, **{"bus-type": "virtio"})],
    )
    (read,) = parse.filesystems(reply([volume]))
    assert (read.name, read.mountpoint) == (name, "C:\\")
    assert read.devices == (
        GuestDevice(dev="\\\\.\\PhysicalDrive0", serial=None, address="pci:0000:00:05.0"),
    )


def test_disks_are_read_with_what_they_lie_on() -> None:
    listed = [
        {"name": "/dev/vda", "partition": False, "dependencies": [], "address": address()},
        {"name": "/dev/vda1", "partition": True, "dependencies": ["/dev/vda"]},
        {"name": "/dev/dm-0", "partition": False, "dependencies": ["/dev/vda1"], "alias": "vg-lv"},
    ]
    read = parse.disks(reply(listed))
    assert [disk.name for disk in read] == ["/dev/vda", "/dev/vda1", "/dev/dm-0"]
    assert read[2] == GuestDisk(
        name="/dev/dm-0", partition=False, dependencies=("/dev/vda1",), device=None
    )


def test_the_device_of_a_listed_disk_is_its_name_when_the_agent_gives_none() -> None:
    bare = address()
    del bare["dev"]
    listed = [{"name": "/dev/vda", "partition": False, "dependencies": [], "address": bare}]
    (read,) = parse.disks(reply(listed))
    assert read.device is not None
    assert read.device.dev == "/dev/vda"


def test_version_and_freeze_status_are_read() -> None:
    info = {"version": "10.0.2", "supported_commands": [{"name": "guest-sync", "enabled": True}]}
    assert parse.version(reply(info)) == "10.0.2"
    assert parse.freeze_status(reply("thawed")) == "thawed"


@pytest.mark.parametrize(
    ("changed", "normal"),
    [
        ({"bus-type": "virtio"}, "pci:0000:00:05.0"),
        ({"bus-type": "nvme"}, "pci:0000:00:05.0"),
        ({"bus-type": "sata", "unit": 3}, "drive:0000:00:05.0:0:0:3"),
        ({"bus-type": "ide", "bus": 1, "unit": 0}, "drive:0000:00:05.0:1:0:0"),
        ({"bus": -1}, None),
        ({"unit": 2**40}, None),
        ({"pci-controller": {"domain": -1, "bus": -1, "slot": -1, "function": -1}}, None),
        (
            {"pci-controller": {"domain": 1, "bus": 255, "slot": 31, "function": 7}},
            "drive:0001:ff:1f.7:0:0:1",
        ),
    ],
)
def test_addresses_take_the_form_of_the_domains(
    changed: dict[str, Any], normal: str | None
) -> None:
    (read,) = parse.filesystems(reply([filesystem(disk=[address(**changed)])]))
    assert read.devices[0].address == normal


@pytest.mark.parametrize("count", [-5, -(2**63), 2**64 - 5, 2**64 - 1, 0])
def test_numbers_are_taken_as_they_are(count: int) -> None:
    (read,) = parse.filesystems(reply([filesystem(**{"used-bytes": count})]))
    assert read.used_bytes == count


FORM = b'{"return":[{"name":"a","mountpoint":"/","type":"ext4","disk":[],"used-bytes":%s}]}'


@pytest.mark.parametrize(
    "number",
    [
        b"1.5",
        b"1e3",
        b"1e999",
        b"true",
        b'"1"',
        b"NaN",
        b"Infinity",
        b"[]",
        b"0x1",
        str(2**64).encode(),
        str(-(2**63) - 1).encode(),
        b"9" * 4000,
        b"9" * 900000,
    ],
    ids=lambda number: number[:20].decode(),
)
def test_what_is_no_count_of_bytes_is_refused(number: bytes) -> None:
    with pytest.raises(parse.ReplyInvalid):
        parse.filesystems(FORM % number)


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"null",
        b"{}",
        b'{"return":null}',
        b'{"return":{}}',
        b'{"return":[null]}',
        b'{"return":[{}]}',
        b'{"error":{"class":"GenericError","desc":"no"}}',
        b'{"return":[]}{"return":[]}',
        b"[" * 500_000,
        b'{"return":' * 100_000,
        b'{"return":[],"x":' + b"[" * 500_000,
        b'{"return":[],"x":' + b'{"a":' * 200_000,
        b'{"return":[{"name":"\\ud800","mountpoint":"/","type":"a","disk":[]}]}',
        b'{"return":[{"name":"\xff","mountpoint":"/","type":"a","disk":[]}]}',
        b'{"return":[{"name":"\xed\xa0\x80","mountpoint":"/","type":"a","disk":[]}]}',
        b"\xef\xbb\xbf" + reply([]),
        reply([]).decode().encode("utf-16"),
        reply([filesystem()] * 2049),
        reply([filesystem(disk=[address()] * 257)]),
        reply([filesystem(disk=None)]),
        b" " * 2**20 + reply([]),
    ],
    ids=lambda hostile: repr(hostile[:24]),
)
def test_hostile_bytes_are_refused_at_once(hostile: bytes) -> None:
    began = time.process_time()
    for read in READERS:
        with pytest.raises(parse.ReplyInvalid):
            read(hostile)
    assert time.process_time() - began < 1


def test_the_largest_allowed_reply_is_read_in_bounded_time() -> None:
    small = {"name": "a", "mountpoint": "\u202e" * 100, "type": "b", "disk": []}
    body = json.dumps({"return": [small] * 2048}, ensure_ascii=False).encode()
    assert parse.MAX_REPLY_BYTES // 2 < len(body) <= parse.MAX_REPLY_BYTES
    began = time.process_time()
    assert len(parse.filesystems(body)) == 2048
    assert time.process_time() - began < 2


def test_an_error_repeats_nothing_that_the_guest_sent() -> None:
    secret = "PWNED\x1b[31m"
    for body in (
        reply([{secret: 1}]),
        reply([filesystem(**{"used-bytes": secret})]),
        reply([filesystem(disk=[{secret: secret}])]),
        reply({secret: secret}),
        secret.encode() * 3,
    ):
        with pytest.raises(parse.ReplyInvalid) as caught:
            parse.filesystems(body)
        assert "PWNED" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert str(caught.value).isprintable()


@given(st.binary(max_size=400), st.sampled_from(READERS))
def test_no_bytes_raise_anything_but_the_declared_error(
    body: bytes, read: Callable[[bytes], object]
) -> None:
    try:
        read(body)
    except parse.ReplyInvalid as error:
        assert str(error).isprintable()


_words = st.sampled_from(
    [
        "return",
        "name",
        "mountpoint",
        "type",
        "disk",
        "used-bytes",
        "total-bytes",
        "version",
        "dependencies",
        "partition",
        "address",
        "pci-controller",
        "bus-type",
        "bus",
        "unit",
    ]
)
_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
_trees = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_words | st.text(max_size=3), inner)
    ),
    max_leaves=12,
)


@given(_trees, st.sampled_from(READERS))
def test_no_tree_raises_anything_but_the_declared_error(
    tree: object, read: Callable[[bytes], object]
) -> None:
    for body in (json.dumps(tree).encode(), reply(tree)):
        try:
            read(body)
        except parse.ReplyInvalid as error:
            assert str(error).isprintable()


_mutations = st.dictionaries(st.sampled_from([*filesystem(), "total-bytes-privileged"]), _trees)


@given(_mutations, st.dictionaries(st.sampled_from(list(address())), _trees))
def test_a_nearly_right_reply_is_read_clean_or_refused(
    outer: dict[str, Any], inner: dict[str, Any]
) -> None:
    body = reply([filesystem(disk=[address(**inner)]) | outer])
    try:
        read = parse.filesystems(body)
    except parse.ReplyInvalid:
        return
    for fs in read:
        for device in fs.devices:
            for text in (device.dev, device.serial, device.address):
                assert text is None or is_harmless(text)
        for text in (fs.name, fs.mountpoint, fs.type):
            assert text is None or is_harmless(text)


def is_harmless(text: str) -> bool:
    """Nothing that a terminal, a log or a reader's eye would act upon."""
    harmful = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return not any(unicodedata.category(character) in harmful for character in text)


@given(st.text(), st.integers(min_value=2, max_value=40))
def test_clean_text_is_harmless_short_and_stays_clean(text: str, limit: int) -> None:
    cleaned = parse.clean(text, limit)
    assert is_harmless(cleaned)
    assert len(cleaned) == min(len(text), limit)
    assert parse.clean(cleaned, limit) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/srv/data 1", "/srv/data 1"),
        ("/srv/\u00dcbung", "/srv/\u00dcbung"),
        ("a\x1b[31mb", "a\ufffd[31mb"),
        ("a\nb\tc\x00", "a\ufffdb\ufffdc\ufffd"),
        ("abc\u202etxt", "abc\ufffdtxt"),
        ("a\u2028b\u200b\ue000", "a\ufffdb\ufffd\ufffd"),
        ("123456", "1234\u2026"),
    ],
)
def test_clean_replaces_what_acts(text: str, cleaned: str) -> None:
    assert parse.clean(text, 5 if text == "123456" else 100) == cleaned

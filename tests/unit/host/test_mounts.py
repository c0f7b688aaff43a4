# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.facts import Mount
from nova_diskaudit.host import filesystem, mounts
from nova_diskaudit.host.errors import HostError

TABLE = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:45 / /srv/a\\040b\\134c rw master:1 propagate_from:2 - nfs4 10.0.0.1:/x\\011y rw,vers=4
41 22 0:46 / /var/lib/nova rw - fuse.glusterfs g1:/nova rw
42 22 0:47 /sub /mnt rw - ceph u@1234-ab.cephfs=/d rw
nonsense
43 22 0:48 - ext4
"""


def test_the_table_of_proc() -> None:
    found = mounts._parse(TABLE)
    assert found[22] == Mount(path="/", fs_type="ext4", source="/dev/vda", device="254:0")
    assert found[40].path == "/srv/a b\\c"
    assert found[40].source == "10.0.0.1:/x\ty"
    assert sorted(found) == [22, 40, 41, 42]


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    mounts._parse(text)


def test_this_host_has_a_root_mount() -> None:
    assert any(mount.path == "/" for mount in mounts.mounts())


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        (("nfs4", "10.0.0.1:/x"), "nfs:10.0.0.1:/x"),
        (("nfs", "10.0.0.1:/x"), "nfs:10.0.0.1:/x"),
        (("ceph", "u@1234-ab.cephfs=/d"), "cephfs:1234-ab.cephfs"),
        (("ceph", "m1,m2:/d"), "cephfs:m1,m2:/d"),
        (("fuse.glusterfs", "g1:/nova"), "fuse.glusterfs:g1:/nova"),
        (("ocfs2", "/dev/sdx"), "ocfs2:00000000000000ff"),
        (("xfs", "/dev/sdx"), f"local:{os.uname().nodename}:00000000000000ff"),
    ],
)
def test_an_identity_is_the_same_where_the_storage_is(
    mount: tuple[str, str], expected: str
) -> None:
    fs_type, source = mount
    known = Mount(path="/m", fs_type=fs_type, source=source, device="0:1")
    assert filesystem._identity(known, 255, os.makedev(0, 1)) == expected


def test_a_local_filesystem_without_id_is_named_by_its_device() -> None:
    name = f"local:{os.uname().nodename}:8:1"
    assert filesystem._identity(None, 0, os.makedev(8, 1)) == name


def test_a_filesystem_of_this_host(tmp_path: pathlib.Path) -> None:
    facts = filesystem.filesystem(str(tmp_path))
    truth = os.statvfs(tmp_path)
    assert facts.total_bytes == truth.f_blocks * truth.f_frsize
    assert str(tmp_path).startswith(facts.path.rstrip("/") or "/")
    assert facts.fs_type
    assert facts.free_bytes is not None and 0 < facts.free_bytes <= facts.total_bytes


def test_a_path_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(HostError) as caught:
        filesystem.filesystem(str(tmp_path / "no"))
    assert caught.value.code == "file-missing"

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import pathlib
import subprocess

import pytest

from nova_diskaudit.host import instances
from nova_diskaudit.host.errors import HostError

KNOWN = "00000000-0000-4000-8000-000000000001"
GONE = "00000000-0000-4000-8000-000000000002"


def du(path: pathlib.Path) -> int:
    """Bytes on storage, as du counts them."""
    done = subprocess.run(["du", "-sB1", path], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in ("_base", "locks", KNOWN, GONE, f"{KNOWN}_resize", f"{GONE}_del"):
        (tmp_path / name).mkdir()
    for name in (f"{KNOWN}/disk", f"{GONE}/disk", f"{KNOWN}_resize/disk", "_base/abc"):
        (tmp_path / name).write_bytes(b"x" * 100_000)
    (tmp_path / "compute_nodes").write_text("{}")
    (tmp_path / ".hidden").write_text("")
    return tmp_path


def test_the_image_cache_is_what_du_says(directory: pathlib.Path) -> None:
    os.link(directory / "_base/abc", directory / "_base/again")
    (directory / "_base/link").symlink_to("/usr")
    found = instances.instances_directory(str(directory), [KNOWN])
    assert found.image_cache_bytes == du(directory / "_base")
    assert found.complete


def test_leftovers_are_what_no_domain_owns(directory: pathlib.Path) -> None:
    (directory / "stray.qcow2").write_bytes(b"x" * 8192)
    found = instances.instances_directory(str(directory), [KNOWN])
    sizes = {left.name: left.host_allocated_bytes for left in found.leftovers}
    assert set(sizes) == {GONE, f"{GONE}_del", f"{KNOWN}_resize", "stray.qcow2"}
    for name, size in sizes.items():
        assert size == du(directory / name)


def test_where_nova_makes_snapshots_is_a_leftover_only_with_something_in_it(
    directory: pathlib.Path,
) -> None:
    def names() -> set[str]:
        found = instances.instances_directory(str(directory), [KNOWN, GONE])
        return {left.name for left in found.leftovers}

    without = names()
    (directory / "snapshots").mkdir()
    assert names() == without
    (directory / "snapshots/tmp0x1").mkdir()
    assert names() == without | {"snapshots"}


def test_a_directory_of_something_else_has_no_leftovers(tmp_path: pathlib.Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    found = instances.instances_directory(str(tmp_path), [])
    assert (found.leftovers, found.image_cache_bytes) == ((), None)


def test_bounds_make_unknown_not_less(
    directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = directory / GONE
    for _ in range(instances.MAX_DEPTH + 1):
        deep = deep / "d"
        deep.mkdir()
    found = instances.instances_directory(str(directory), [KNOWN])
    assert {x.name: x.host_allocated_bytes for x in found.leftovers}[GONE] is None
    monkeypatch.setattr(instances, "MAX_ENTRIES", 12)
    found = instances.instances_directory(str(directory), [KNOWN])
    assert not found.complete
    assert None in [x.host_allocated_bytes for x in found.leftovers]
    monkeypatch.setattr(instances, "MAX_ENTRIES", 100_000)
    monkeypatch.setattr(instances, "MAX_LEFTOVERS", 1)
    found = instances.instances_directory(str(directory), [KNOWN])
    assert len(found.leftovers) == 1
    assert not found.complete


def test_names_are_printable_and_short(directory: pathlib.Path) -> None:
    (directory / "a\x1b[31m\nb").write_text("")
    os.mkdir(os.fsencode(directory) + b"/\xff\xfe")
    names = [x.name for x in instances.instances_directory(str(directory), [KNOWN]).leftovers]
    assert all(name.isprintable() and len(name) <= 255 for name in names)
    assert "a\ufffd[31m\ufffdb" in names


def test_errors_have_codes(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    for path, code in ((tmp_path / "no", "file-missing"), (tmp_path / "file", "storage-error")):
        with pytest.raises(HostError) as caught:
            instances.instances_directory(str(path), [])
        assert caught.value.code == code


def test_managed_save(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.save").write_bytes(b"x" * 5000)
    (tmp_path / "b.save").write_bytes(b"x" * 9000)
    (tmp_path / "c.other").write_bytes(b"x" * 9000)
    (tmp_path / "d.save").symlink_to("/etc/passwd")
    assert instances.managed_save(str(tmp_path)) == du(tmp_path / "a.save") + du(
        tmp_path / "b.save"
    )
    assert instances.managed_save(str(tmp_path / "no")) is None

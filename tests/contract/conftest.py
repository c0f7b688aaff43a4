# SPDX-License-Identifier: Apache-2.0
"""Real storage for the probes: filesystems on loop devices, block devices, an nbd server."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

import pytest


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


@contextlib.contextmanager
def loop_device(image: pathlib.Path, *options: str) -> Iterator[str]:
    device = run("losetup", "--find", "--show", *options, image)
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


@contextlib.contextmanager
def mounted(directory: pathlib.Path, fs_type: str, megabytes: int) -> Iterator[pathlib.Path]:
    image, point = directory / f"{fs_type}.img", directory / fs_type
    point.mkdir()
    run("truncate", "-s", f"{megabytes}M", image)
    run(f"mkfs.{fs_type}", image)
    with loop_device(image) as device:
        run("mount", "-t", fs_type, device, point)
        try:
            yield point
        finally:
            run("umount", "--lazy", point)


@pytest.fixture(scope="session")
def disk_directory() -> Iterator[pathlib.Path]:
    """A directory on a disk, where holes are those of a disk: /tmp may be a tmpfs."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="nova-diskaudit-") as name:
        yield pathlib.Path(name)


@pytest.fixture(scope="session")
def ext4(disk_directory: pathlib.Path) -> Iterator[pathlib.Path]:
    with mounted(disk_directory, "ext4", 256) as point:
        yield point


@pytest.fixture(scope="session")
def xfs(disk_directory: pathlib.Path) -> Iterator[pathlib.Path]:
    with mounted(disk_directory, "xfs", 512) as point:
        yield point


@pytest.fixture(scope="session")
def btrfs(disk_directory: pathlib.Path) -> Iterator[pathlib.Path]:
    with mounted(disk_directory, "btrfs", 256) as point:
        yield point


@pytest.fixture
def tmpfs(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    point = tmp_path / "tmpfs"
    point.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64M", "none", point)
    yield point
    run("umount", "--lazy", point)

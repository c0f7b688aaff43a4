# SPDX-License-Identifier: Apache-2.0
"""The spool against what happens to machines: SIGKILL, a full disk, a read-only one."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import pytest

from nova_diskaudit import protocol
from nova_diskaudit.agent.spool import Spool, SpoolError
from tests.contract import reports
from tests.contract.conftest import disk_directory, mounted, run

__all__ = ["disk_directory"]  # a fixture

ROUNDS = 60


def pending(directory: pathlib.Path) -> tuple[str, list[str]]:
    """The agent's id and what waits, in its order."""
    spool = Spool(directory, now=lambda: reports.NOON)
    found = spool._ask(
        lambda db: db.execute(
            "SELECT id FROM state WHERE id IS NOT"
            " (SELECT value FROM meta WHERE key = 'acked') ORDER BY seq"
        ).fetchall()
    )
    agent = spool.agent
    spool.close()
    assert found is not None
    return agent, [id for (id,) in found]


def test_killed_at_any_moment(tmp_path: pathlib.Path) -> None:
    """What was appended is there, what was acknowledged is gone, and the order stands."""
    rng = random.Random(3)
    before: list[str] = []
    agents: set[str] = set()
    kills = {"between": 0, "within": 0}
    for number in range(ROUNDS):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.functional.spool_process", tmp_path, str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        agents.add(process.stdout.readline().split()[1])
        time.sleep(rng.random() * 0.08)
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read()
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        expected, unsure = list(before), None
        for line in said.splitlines():
            word, id = line.split()
            if word in ("appends", "acknowledges", "rejects"):
                unsure = (word, id)
            else:
                unsure = None
                if word == "appended":
                    expected.append(id)
                else:
                    expected.remove(id)
        agent, before = pending(tmp_path)
        agents.add(agent)
        possible = [expected]
        if unsure is not None and unsure[0] == "appends":
            possible.append([*expected, unsure[1]])
        elif unsure is not None:
            possible.append([id for id in expected if id != unsure[1]])
        assert before in possible
        kills["between" if unsure is None else "within"] += 1
    assert len(agents) == 1
    assert not list(tmp_path.glob("*.aside-*"))
    assert kills["within"] > 5


# --- a full disk ------------------------------------------------------------------------------


@contextlib.contextmanager
def small_tmpfs(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    point = directory / "tmpfs"
    point.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=16M", "none", point)
    try:
        yield point
    finally:
        run("umount", "--lazy", point)


@pytest.fixture(params=["tmpfs", "ext4", "xfs"])
def small(request: pytest.FixtureRequest, disk_directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """A small filesystem of its own."""
    directory = disk_directory / f"full-{request.node.name}"
    directory.mkdir()
    size = {"ext4": 24, "xfs": 320}
    with (
        small_tmpfs(directory)
        if request.param == "tmpfs"
        else mounted(directory, request.param, size[request.param])
    ) as point:
        yield point


def fill(point: pathlib.Path) -> pathlib.Path:
    """Not one more block."""
    filler = point / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (2**20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), file.seek(0, 2), size)
    return filler


RNG = random.Random(5)


def large(packed_bytes: int) -> protocol.State:
    """A state that takes about so many bytes, packed."""
    state = reports.state(1)
    name = base64.b64encode(RNG.randbytes(packed_bytes)).decode()
    instances = (msgspec.structs.replace(state.instances[0], domain=name),)
    return msgspec.structs.replace(state, instances=instances)


def test_states_come_and_go_on_a_full_disk(small: pathlib.Path) -> None:
    spool = Spool(small, now=lambda: reports.NOON)
    first = large(50_000)
    spool.append(first)
    fill(small)
    for _ in range(60):
        newest = large(50_000)
        spool.append(newest)
        assert not spool.status().in_memory
        while (oldest := spool.oldest()) is not None and oldest != newest:
            spool.acknowledge(oldest.id)
    assert spool.oldest() == newest
    assert spool.status().dropped == spool.status().thinned == 0
    spool.close()
    again = Spool(small, now=lambda: reports.NOON)
    assert again.oldest() == newest
    again.close()


def test_what_has_no_room_stays_in_memory_and_is_told(
    small: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spool = Spool(small, now=lambda: reports.NOON)
    kept = large(20_000)
    spool.append(kept)
    filler = fill(small)
    states = [large(3_000_000) for _ in range(3)]
    for number, state in enumerate(states):
        spool.append(state)
        status = spool.status()
        assert status.in_memory and status.problem is not None and "full" in status.problem
        # Only the newest can stay in memory.
        assert (status.depth, status.dropped) == (2, number)
    assert caplog.text.count("cannot be used now") == 1
    # What was written before can still be sent, and leave.
    assert spool.oldest() == kept
    spool.acknowledge(kept.id)
    assert spool.oldest() is None and spool.acked() == kept
    filler.unlink()
    assert spool.oldest() == states[-1]
    status = spool.status()
    assert (status.in_memory, status.problem, status.dropped) == (False, None, 2)
    assert caplog.text.count("can be used again") == 1
    spool.close()


def test_started_on_a_full_disk(small: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    filler = fill(small)
    try:
        spool = Spool(small, now=lambda: reports.NOON)
    except SpoolError as error:
        # Not even a name finds room in the directory.
        assert "No space left" in str(error)
        return
    state = large(10_000)
    spool.append(state)
    assert spool.status().in_memory and spool.oldest() is None
    assert "cannot be used now" in caplog.text and "set aside" not in caplog.text
    filler.unlink()
    assert spool.oldest() == state and not spool.status().in_memory
    assert protocol.is_id(spool.agent)
    spool.close()


def test_started_again_on_a_full_disk(small: pathlib.Path) -> None:
    before = Spool(small, now=lambda: reports.NOON)
    old = large(10_000)
    before.append(old)
    before.close()
    filler = fill(small)
    spool = Spool(small, now=lambda: reports.NOON)
    new = large(10_000)
    spool.append(new)
    # An orderly end gave the log's room back, so nothing can be opened before there is some.
    assert spool.status().in_memory and spool.oldest() is None
    filler.unlink()
    assert spool.oldest() == old and spool.agent == before.agent
    spool.acknowledge(old.id)
    assert spool.oldest() == new
    assert not list(small.glob("*.aside-*"))
    spool.close()


# --- a disk that became read-only -------------------------------------------------------------


def test_a_disk_that_became_read_only(
    disk_directory: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = disk_directory / "read-only"
    directory.mkdir()
    with mounted(directory, "ext4", 24) as point:
        spool = Spool(point, now=lambda: reports.NOON)
        old, new = large(1000), large(1000)
        spool.append(old)
        spool.close()
        run("mount", "-o", "remount,ro", point)
        with pytest.raises(SpoolError, match="Read-only file system"):
            Spool(point, now=lambda: reports.NOON)
        run("mount", "-o", "remount,rw", point)
        spool = Spool(point, now=lambda: reports.NOON)
        # As the kernel does it by itself after an error of the disk.
        run("mount", "-o", "remount,errors=remount-ro", point)
        device = pathlib.Path(run("findmnt", "-no", "SOURCE", point)).name
        pathlib.Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("by a test")
        spool.append(new)
        status = spool.status()
        assert status.in_memory and status.problem and status.depth == 2
        assert caplog.text.count("cannot be used now") == 1
        with pytest.raises(SpoolError):
            spool.acknowledge(old.id)
        spool.close()

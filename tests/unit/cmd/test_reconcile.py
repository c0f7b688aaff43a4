# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit-reconcile``, as cron and an operator run it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from nova_diskaudit.cmd import reconcile
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import schema, task
from tests import reports
from tests.fake_nova import FakeNova

BIN = pathlib.Path(sys.executable).parent
LONG = 60.0
NOBODY = "[api]\nauth_strategy = noauth\n[nova]\nenabled = false\n"


@pytest.fixture
def fake() -> Iterator[FakeNova]:
    with FakeNova(reports.NOW) as server:
        yield server


class Place:
    """A database, and a configuration file."""

    def __init__(self, path: pathlib.Path) -> None:
        self.url = f"sqlite:///{path}/store.sqlite"
        self.file = path / "nova-diskaudit-api.conf"
        self.engine = store_engine.create(self.url)

    def configure(self, text: str) -> None:
        self.file.write_text(f"[database]\nconnection = {self.url}\n{text}")


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Iterator[Place]:
    made = Place(tmp_path)
    made.configure(NOBODY)
    schema.sync(made.engine)
    yield made
    made.engine.dispose()


def with_nova(fake: FakeNova) -> str:
    return (
        f"[api]\nauth_strategy = noauth\n[nova]\nenabled = true\nauth_type = none\n"
        f"endpoint_override = {fake.url}\ntimeout = 5\n[limits]\nenabled = false\n"
        "[reconcile]\nallocations = false\n"
    )


def run(place: Place, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    before = signal.getsignal(signal.SIGTERM)
    try:
        status = reconcile.main(["--config-file", str(place.file), *words])
    finally:
        signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_what_is_due_once(place: Place, fake: FakeNova, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(with_nova(fake))
    fake.boot(reports.uuid_of("one"), "a")
    status, out, err = run(place, capsys)
    assert (status, err) == (0, "")
    first, *rest = out.splitlines()
    assert first.startswith("nova-map: done in ") and "instances 1" in first
    assert [line.split(":")[0] for line in rest] == ["reconciliation", "roll-up", "purge"]
    status, out, _ = run(place, capsys)
    assert status == 0 and all("not due before 20" in line for line in out.splitlines())
    status, out, _ = run(place, capsys, "--task", "nova-map", "--task", "purge")
    assert status == 0
    assert [line.split(" in ")[0] for line in out.splitlines()] == ["nova-map: done", "purge: done"]


def test_json(place: Place, fake: FakeNova, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(with_nova(fake))
    fake.down = {"cell2"}
    status, out, err = run(place, capsys, "--format", "json")
    tasks = {one["task"]: one for one in json.loads(out)["tasks"]}
    assert (status, err) == (1, "")
    told = tasks["nova-map"]
    assert told["state"] == "incomplete" and told["problem"].startswith("1 hosts are in cells")
    assert told["facts"] == {"whole": True, "instances": 0, "news": 0}
    assert tasks["purge"]["state"] == "done" and tasks["purge"]["problem"] is None


def test_somebody_else_is_at_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert task.take(place.engine, "purge", "x", clock=reconcile._now, seconds=60)
    status, out, _ = run(place, capsys, "--task", "purge")
    assert (status, out) == (0, "purge: another process does it now\n")


def test_how_they_stand(place: Place, fake: FakeNova, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(with_nova(fake))
    status, out, _ = run(place, capsys, "--list")
    assert status == 0 and "nova-map: ask Nova" in out and "last done never, next now" in out
    fake.__exit__()
    assert run(place, capsys, "--task", "nova-map")[0] == 1
    status, out, _ = run(place, capsys, "--list", "--format", "json")
    first = json.loads(out)["tasks"][0]
    assert status == 1 and first["task"] == "nova-map" and first["problem"]
    assert first["succeeded_at"] is None and first["began_at"] is not None


@pytest.mark.parametrize(
    "text, words, says",
    [
        (NOBODY, ["--task", "none"], "there is no task none: nova-map"),
        (NOBODY, ["--task", "nova-map"], "turned off"),
        ("", [], "[nova] auth_type"),
        ("[reconcile]\npurge_after_days = never\n", [], "purge_after_days"),
        ("[nova]\nenabled = false\n", [], "auth_strategy = noauth"),
    ],
)
def test_what_it_cannot_begin_with(
    place: Place, capsys: pytest.CaptureFixture[str], text: str, words: list[str], says: str
) -> None:
    place.configure(text)
    status, out, err = run(place, capsys, *words)
    assert (status, out) == (2, "")
    assert says in err and err.startswith("nova-diskaudit-reconcile: ") and err.count("\n") == 1


def test_tables_that_are_not_there(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with place.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE alembic_version"))
    for words in ([], ["--list"], ["--forever"]):
        status, _, err = run(place, capsys, *words)
        assert status == 2 and "db sync" in err


# --- as a service -------------------------------------------------------------------------------


class Manager:
    """The service manager's socket."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = str(directory / "notify")
        self._socket.bind(self.path)
        self._socket.settimeout(LONG)

    def await_word(self, word: str) -> None:
        while word not in self._socket.recv(4096).decode():
            pass

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def started(place: Place, *words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [BIN / "nova-diskaudit-reconcile", "--config-file", place.file, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def await_success(place: Place, name: str) -> None:
    until = time.monotonic() + LONG
    while task.state(place.engine, name).succeeded_at is None:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_for_ever(place: Place, tmp_path: pathlib.Path, fake: FakeNova) -> None:
    place.configure(with_nova(fake))
    manager = Manager(tmp_path)
    with started(place, "--forever", NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="200000") as process:
        manager.await_word("READY=1")
        manager.await_word("WATCHDOG=1")
        for name in ("nova-map", "roll-up", "purge"):
            await_success(place, name)
        process.send_signal(signal.SIGTERM)
        manager.await_word("STOPPING=1")
        assert process.wait(LONG) == 0
    manager.close()


def hold_nova(fake: FakeNova) -> Any:
    """A Nova that does not answer until the test lets it."""
    import threading

    asked, let = threading.Event(), threading.Event()

    def wait() -> None:
        asked.set()
        let.wait(LONG)

    fake.before["/servers/detail"] = wait
    return asked, let


def test_it_ends_while_nova_hangs(place: Place, fake: FakeNova) -> None:
    place.configure(with_nova(fake).replace("timeout = 5", "timeout = 3600"))
    asked, let = hold_nova(fake)
    with started(place, "--forever") as process:
        assert asked.wait(LONG)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 0
    let.set()


def test_a_single_run_that_is_ended_gives_its_lease_back(place: Place, fake: FakeNova) -> None:
    place.configure(with_nova(fake).replace("timeout = 5", "timeout = 3600"))
    asked, let = hold_nova(fake)
    with started(place, "--task", "nova-map") as process:
        assert asked.wait(LONG)
        assert task.state(place.engine, "nova-map").held_until_at is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 128 + signal.SIGTERM
    assert task.state(place.engine, "nova-map").held_until_at is None
    let.set()

# SPDX-License-Identifier: Apache-2.0
"""Tokens: who gets one, when it comes back, and what the next run knows."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pathlib
import threading
import time

import pytest

from nova_diskaudit.facts import Process
from nova_diskaudit.lane import tokens as module
from nova_diskaudit.lane.errors import NoToken
from nova_diskaudit.lane.tokens import Holder, Tokens

QEMU = Process(pid=4242, start_ticks=99)


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "tokens.json"


@pytest.fixture(autouse=True)
def settle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.0)


def tokens(path: pathlib.Path | None = None, ended: bool = False) -> Tokens:
    return Tokens(path, lambda holder: ended)


def stats(some: Tokens, subject: str = "a", seconds: float = 0) -> Holder:
    return some.take("stats", subject, process=QEMU, seconds=seconds)


def test_one_for_stats_and_two_for_guests() -> None:
    some = tokens()
    holder = stats(some)
    some.take("guest", "a", seconds=0, expires_after=15)
    some.take("guest", "b", seconds=0, expires_after=15)
    for kind in ("stats", "guest"):
        with pytest.raises(NoToken):
            some.take(kind, "c", seconds=0)
    some.give_back(holder)
    stats(some)


def test_a_call_within_its_deadline_is_waited_for() -> None:
    some = tokens()
    first = stats(some, "a")
    got: list[Holder] = []
    waiting = threading.Thread(target=lambda: got.append(stats(some, "b", seconds=60)))
    waiting.start()
    time.sleep(0.02)
    assert not got
    some.give_back(first)
    waiting.join(30)
    assert [holder.subject for holder in got] == ["b"]


def test_a_parked_call_is_not_waited_for() -> None:
    some = tokens()
    some.park(stats(some, "stuck"))
    started = time.monotonic()
    with pytest.raises(NoToken) as caught:
        stats(some, "b", seconds=600)
    assert time.monotonic() - started < 60
    assert caught.value.holders == ("stuck",)


def test_waiters_learn_when_the_call_is_parked() -> None:
    some = tokens()
    first = stats(some, "a")
    refused = threading.Event()

    def wait() -> None:
        with pytest.raises(NoToken):
            stats(some, "b", seconds=600)
        refused.set()

    threading.Thread(target=wait, daemon=True).start()
    time.sleep(0.02)
    some.park(first)
    assert refused.wait(30)


def test_a_reply_gives_a_parked_token_back() -> None:
    some = tokens()
    holder = stats(some)
    some.park(holder)
    some.give_back(holder)
    stats(some)


def test_an_orphan_holds_until_its_call_has_ended() -> None:
    ended = False
    some = Tokens(None, lambda holder: ended)
    some.orphan(stats(some))
    with pytest.raises(NoToken):
        stats(some, "b")
    ended = True
    stats(some, "b")


def test_libvirt_is_asked_about_an_orphan_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLE_SECONDS", 3600.0)
    asked: list[Holder] = []
    some = Tokens(None, lambda holder: bool(asked.append(holder)))
    some.orphan(stats(some))
    for _ in range(5):
        with pytest.raises(NoToken):
            stats(some, "b")
    assert len(asked) == 1


def test_an_orphan_of_a_guest_ends_with_its_time_and_not_by_libvirts_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = tokens(ended=True)
    for subject in "ab":
        some.orphan(some.take("guest", subject, seconds=0, expires_after=100))
    with pytest.raises(NoToken):
        some.take("guest", "c", seconds=0)
    real = module.now()
    monkeypatch.setattr(module, "now", lambda: real + 101)
    some.take("guest", "c", seconds=0)


def test_one_orphan_leaves_the_other_guest_token() -> None:
    some = tokens()
    some.orphan(some.take("guest", "a", seconds=0, expires_after=100))
    some.take("guest", "b", seconds=0)


def test_orphans_persist_and_count_in_the_next_run(path: pathlib.Path) -> None:
    first = tokens(path)
    holder = stats(first)
    first.abandon()
    assert path.stat().st_mode & 0o777 == 0o600
    second = Tokens(path, lambda known: known != holder)
    with pytest.raises(NoToken) as caught:
        stats(second, "b")
    assert caught.value.holders == ("a",)
    third = tokens(path, ended=True)
    third.give_back(stats(third, "b"))
    # What has ended is forgotten by all.
    stats(tokens(path), "c")


def test_a_parked_call_is_known_to_others_before_its_caller_dies(path: pathlib.Path) -> None:
    first = tokens(path)
    holder = stats(first)
    first.park(holder)
    with pytest.raises(NoToken):
        stats(tokens(path))
    first.give_back(holder)
    stats(tokens(path))


def test_a_call_counts_in_the_next_run_when_its_caller_was_killed(path: pathlib.Path) -> None:
    stats(tokens(path), "a")
    with pytest.raises(NoToken) as caught:
        stats(tokens(path), "b")
    assert caught.value.holders == ("a",)


def test_a_call_in_time_leaves_nothing_behind(path: pathlib.Path) -> None:
    some = tokens(path)
    some.give_back(stats(some))
    assert json.loads(path.read_bytes())["holders"] == []


def test_runs_do_not_overwrite_each_other(path: pathlib.Path) -> None:
    runs = [tokens(path) for _ in range(8)]
    held = [run.take("guest", str(n), seconds=0, expires_after=99) for n, run in enumerate(runs)]
    threads = [
        threading.Thread(target=run.park, args=(holder,))
        for run, holder in zip(runs, held, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = json.loads(path.read_bytes())["holders"]
    assert {holder["subject"] for holder in kept} == {str(n) for n in range(8)}


def test_another_boot_has_no_orphans(path: pathlib.Path) -> None:
    first = tokens(path)
    stats(first)
    first.abandon()
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps(content | {"boot_id": "another"}))
    stats(tokens(path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\x00\xff",
        b"[]",
        b'{"version": 1}',
        b'{"version": 2, "boot_id": "x", "holders": []}',
        b'{"version": 1, "boot_id": "x", "holders": [{"id": 7}]}',
        b"[" * 100_000,
        b" " * 2**19,
    ],
)
def test_a_corrupt_file_is_set_aside(
    path: pathlib.Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        some = tokens(path)
    assert "corrupt" in caplog.text
    assert path.with_name(path.name + ".corrupt").read_bytes() == content
    some.park(stats(some))
    with pytest.raises(NoToken):
        stats(tokens(path))


def test_a_directory_that_is_not_there_is_said_once(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        some = tokens(tmp_path / "no" / "tokens.json")
        holder = stats(some)
        some.park(holder)
        some.give_back(holder)
    assert len(caplog.records) == 1


def test_a_held_lock_does_not_hang(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.1)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    some = tokens(path)
    some.park(stats(some))
    os.close(lock)
    assert "not be remembered" in caplog.text

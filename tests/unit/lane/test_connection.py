# SPDX-License-Identifier: Apache-2.0
"""A lane's connection: opened when needed, opened again, never asked twice by mistake."""

from __future__ import annotations

import libvirt
import pytest

from nova_diskaudit.host.errors import HostError
from nova_diskaudit.lane.connection import Connection
from nova_diskaudit.lane.errors import LaneRefused
from tests.unit.lane.test_channel import libvirt_error


class Daemon:
    """Stands for libvirtd and for the connections to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: list[str] = []
        self.alive = 1
        self.error: libvirt.libvirtError | None = None
        for name in ("open", "openReadOnly"):
            monkeypatch.setattr(libvirt, name, lambda uri, name=name: self._open(name))

    def _open(self, name: str) -> Daemon:
        if self.error is not None:
            raise self.error
        self.opened.append(name)
        self.alive = 1
        return self

    def isAlive(self) -> int:
        return self.alive


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return Daemon(monkeypatch)


def test_one_connection_for_many_calls_and_none_before(daemon: Daemon) -> None:
    call = Connection("u", read_only=True).bind(lambda connection, a: a, repeatable=True)
    assert daemon.opened == []
    assert [call(n) for n in range(3)] == [0, 1, 2]
    assert daemon.opened == ["openReadOnly"]


def test_only_the_guests_lane_may_write(daemon: Daemon) -> None:
    Connection("u", read_only=False).bind(lambda connection: None, repeatable=False)()
    assert daemon.opened == ["open"]


@pytest.mark.parametrize("repeatable", [True, False])
def test_an_error_of_a_living_daemon_is_passed_on(daemon: Daemon, repeatable: bool) -> None:
    asked: list[object] = []

    def function(connection: object) -> None:
        asked.append(connection)
        raise HostError("domain-gone", "x")

    call = Connection("u", read_only=True).bind(function, repeatable=repeatable)
    for n in (1, 2):
        with pytest.raises(HostError):
            call()
        assert len(asked) == n
    assert len(daemon.opened) == 1


def broken_once(daemon: Daemon) -> tuple[list[int], object]:
    """A call during which the daemon goes away the second time."""
    asked: list[int] = []

    def function(connection: object) -> int:
        asked.append(len(asked))
        if len(asked) == 2:
            daemon.alive = 0
            raise HostError("domain-unreadable", "client socket is closed")
        return len(asked)

    return asked, function


def test_a_repeatable_call_is_asked_again_over_a_new_connection(daemon: Daemon) -> None:
    _, function = broken_once(daemon)
    call = Connection("u", read_only=True).bind(function, repeatable=True)  # type: ignore[arg-type]
    assert [call(), call()] == [1, 3]
    assert len(daemon.opened) == 2


def test_another_is_not(daemon: Daemon) -> None:
    asked, function = broken_once(daemon)
    call = Connection("u", read_only=True).bind(function, repeatable=False)  # type: ignore[arg-type]
    call()
    with pytest.raises(LaneRefused) as caught:
        call()
    assert caught.value.code == "no-connection"
    assert len(asked) == 2
    assert call() == 3


def test_a_daemon_that_hangs_up_at_once_is_not_asked_for_ever(daemon: Daemon) -> None:
    def function(connection: object) -> None:
        daemon.alive = 0
        raise HostError("domain-unreadable", "hung up")

    call = Connection("u", read_only=True).bind(function, repeatable=True)
    with pytest.raises(LaneRefused, match="hung up"):
        call()
    assert len(daemon.opened) == 1


@pytest.mark.parametrize(
    ("number", "text", "read_only", "code"),
    [
        (38, "Failed to connect socket to '/s': No such file or directory", True, "no-connection"),
        (38, "Failed to connect socket to '/s': No such file or directory", False, "no-connection"),
        (38, "Failed to connect socket to '/s': Permission denied", True, "no-connection"),
        (38, "Failed to connect socket to '/s': Permission denied", False, "guest-not-permitted"),
        (45, "authentication failed", True, "no-connection"),
        (45, "authentication failed", False, "guest-not-permitted"),
    ],
)
def test_why_it_cannot_be_opened_is_one_line(
    daemon: Daemon, number: int, text: str, read_only: bool, code: str
) -> None:
    daemon.error = libvirt_error(number, text.replace(" ", "\n "))
    call = Connection("qemu:///x", read_only=read_only).bind(lambda c: None, repeatable=True)
    with pytest.raises(LaneRefused) as caught:
        call()
    assert (caught.value.code, caught.value.detail) == (code, f"qemu:///x: {text}")

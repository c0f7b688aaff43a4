# SPDX-License-Identifier: Apache-2.0
import io
import threading

import pytest

from nova_diskaudit.render import progress


class Terminal(io.StringIO):
    """A terminal that remembers, and tells when something was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.shown.set()
        return super().write(text)


def test_no_terminal_no_callback() -> None:
    with progress.line(io.StringIO()) as told:
        assert told is None
    with progress.line(None) as told:
        assert told is None


def test_a_quick_sweep_shows_nothing() -> None:
    terminal = Terminal()
    with progress.line(terminal) as told:
        assert told is not None
        told("guests", 1, 2)
    assert terminal.getvalue() == ""


def test_a_slow_sweep_shows_its_last_word_and_erases_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    terminal = Terminal()
    with progress.line(terminal) as told:
        assert told is not None
        told("guests", 1, 20)
        terminal.shown.clear()
        assert terminal.shown.wait(5)
    shown = terminal.getvalue()
    assert "\rguests 1/20" in shown
    last = shown.rsplit("\r", 2)
    assert last[1].strip() == "" and last[2] == ""


def test_the_line_is_erased_when_the_sweep_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    terminal = Terminal()
    with pytest.raises(ZeroDivisionError), progress.line(terminal):
        assert terminal.shown.wait(5)
        raise ZeroDivisionError
    assert terminal.getvalue().endswith("\r")
    assert not [one for one in threading.enumerate() if one.name == "progress"]

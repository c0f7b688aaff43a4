# SPDX-License-Identifier: Apache-2.0
"""What a terminal is given: what it can show, as wide as it is, and nothing that moves it."""

from __future__ import annotations

import pytest

from nova_diskaudit.osc.chart import ASCII, BLOCKS
from tests.service.commands import shell
from tests.service.commands.scene import Scene, environ


def _history(scene: Scene, **terminal: object) -> str:
    words = ("disk", "usage", "history", "--start", scene.hours_ago(12), "-c", "Held")
    return shell.on_terminal(*words, env=environ(scene.rosa), **terminal)  # type: ignore[arg-type]


def test_a_terminal_without_blocks_gets_ascii(scene: Scene) -> None:
    said = _history(scene, encoding="latin-1")
    assert f"20.0 GiB {ASCII.axis}" in said and ASCII.held * 4 in said
    assert said.isascii()


@pytest.mark.parametrize("columns", [24, 40])
def test_a_chart_is_as_narrow_as_its_terminal(scene: Scene, columns: int) -> None:
    said = _history(scene, columns=columns)
    assert BLOCKS.axis in said
    assert max(map(len, said.splitlines())) <= columns


def test_a_terminal_that_is_too_narrow_gets_no_chart(scene: Scene) -> None:
    assert BLOCKS.axis not in _history(scene, columns=20)


def test_a_pipe_gets_no_chart(scene: Scene) -> None:
    words = ("disk", "usage", "history", "--start", scene.hours_ago(12), "-c", "Held")
    done = shell.openstack(*words, env=environ(scene.rosa))
    assert done.status == 0 and done.out.endswith("+\n") and BLOCKS.axis not in done.out


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_nothing_moves_a_terminal(scene: Scene, encoding: str) -> None:
    words = ("disk", "usage", "show", "--server", scene.servers["hostile"])
    said = shell.on_terminal(*words, env=environ(scene.otto), encoding=encoding)
    assert "evil\\x1b[31m\\x0a| forged |\\u202e" in said
    assert all(character.isprintable() or character == "\n" for character in said)
    assert len({len(line) for line in said.splitlines()}) == 1

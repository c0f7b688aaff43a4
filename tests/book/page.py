# SPDX-License-Identifier: Apache-2.0
"""What a page of the documentation says to type, as one script for bash.

Blocks with ``:class: executed`` count: of a ``console`` the lines after ``#``, ``$`` and ``>``
(what is printed is left out), of others the whole block, which becomes the file that the caption
names. In a block that is ``retried`` too, each command is repeated until it succeeds.
"""

from __future__ import annotations

import pathlib
import re
import shlex
from collections.abc import Callable, Iterator
from typing import NamedTuple

SOURCE = pathlib.Path(__file__).parents[2] / "doc/source"

_BLOCK = re.compile(
    r"^\.\. code-block:: (?P<language>\w+)\n(?P<options>(?:   :.*\n)*)\n"
    r"(?P<text>(?:   .*\n|\n)+)",
    re.MULTILINE,
)
_PROMPTS = ("# ", "$ ")


class Block(NamedTuple):
    """One block that is to be executed."""

    line: int
    language: str
    text: str
    caption: str
    is_retried: bool


def blocks(name: str) -> Iterator[Block]:
    """Those of a page that are marked, in their order."""
    source = (SOURCE / name).read_text()
    for match in _BLOCK.finditer(source):
        options = dict(re.findall(r":(\w+): *(.*)", match["options"]))
        classes = options.get("class", "").split()
        if "executed" in classes:
            yield Block(
                source.count("\n", 0, match.start()) + 1,
                match["language"],
                "".join(re.sub("^   ", "", line) for line in match["text"].splitlines(True)).strip(
                    "\n"
                )
                + "\n",
                options.get("caption", ""),
                "retried" in classes,
            )


def commands(text: str) -> Iterator[str]:
    """What is typed; a command of several lines is one."""
    typed: list[str] = []
    for line in text.splitlines():
        if line.startswith(_PROMPTS):
            if typed:
                yield "\n".join(typed)
            typed = [line[2:]]
        elif line.startswith("> ") and typed:
            typed.append(line[2:])
    if typed:
        yield "\n".join(typed)


def script(name: str, replace: Callable[[str], str]) -> str:
    """The page for ``bash -e``; ``replace`` may change each command and file."""
    lines = []
    for block in blocks(name):
        if block.language != "console":
            # No directory is made for it: the page has to say so.
            file = shlex.quote(block.caption)
            lines.append(f"cat > {file} <<'END-OF-FILE'\n{replace(block.text)}END-OF-FILE")
            continue
        for command in commands(block.text):
            told = shlex.quote(f"--- {name}:{block.line}: {command}")
            typed = replace(command)
            lines += [f"printf '%s\\n' {told}", f"retried {typed}" if block.is_retried else typed]
    return "\n".join(lines) + "\n"

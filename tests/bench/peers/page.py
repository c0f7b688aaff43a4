# SPDX-License-Identifier: Apache-2.0
"""The page as Markdown: what a run found stands between marks in a text that people write."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence

FILE = "index.md"
_NOT_YET = "Not measured yet."


def fill(directory: pathlib.Path, parts: Mapping[str, str]) -> None:
    """Write each part, by its name, between its marks on the directory's page.

    Where there is no page, one of nothing but these parts is made.

    :raises ValueError: for a page without the marks of a part.
    """
    path = directory / FILE
    if path.exists():
        text = path.read_text()
    else:
        bare = (f"## {name.capitalize()}\n\n{_begin(name)}\n{_end(name)}\n" for name in parts)
        text = "# Side by side with peers\n\n" + "\n".join(bare)
    for name, part in parts.items():
        before, begun, rest = text.partition(_begin(name))
        _, ended, after = rest.partition(_end(name))
        if not begun or not ended:
            raise ValueError(f"{path} has no marks for {name!r}")
        text = f"{before}{begun}\n\n{part.strip() or _NOT_YET}\n\n{ended}{after}"
    path.write_text(text)


def _begin(name: str) -> str:
    return f"<!-- {name}: made by tests/bench/peers, not to be edited -->"


def _end(name: str) -> str:
    return f"<!-- end of {name} -->"


def table(rows: Iterable[Sequence[str]]) -> str:
    """A table whose first row is its head."""
    head, *others = rows
    cells = [head, ["---"] * len(head), *others]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells
    )


def picture(name: str, words: str) -> str:
    """A picture that lies beside the page, and what it shows."""
    return f"![{words}]({name})"

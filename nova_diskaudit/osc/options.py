# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from typing import TextIO, TypeVar

from nova_diskaudit.osc import arguments

_One = TypeVar("_One")

#: So many rows unless told otherwise: a cloud may have a million.
ROWS = 1000
#: The most that is asked for at once.
_PAGE = 1000


def add_limit(parser: argparse.ArgumentParser) -> None:
    """``--limit``."""
    parser.add_argument(
        "--limit",
        metavar="<limit>",
        type=arguments.limit,
        help=f"Maximum number of rows, -1 for all (default: {ROWS})",
    )


def add_project_domain(parser: argparse.ArgumentParser) -> None:
    """``--project-domain``."""
    parser.add_argument(
        "--project-domain",
        metavar="<project-domain>",
        help="Domain of the project (name or ID), where its name alone is not unique",
    )


def paging(limit: int | None) -> dict[str, int]:
    """What the service is asked for a list of so many."""
    return {"limit": min(limit + 1, _PAGE) if limit is not None and limit > 0 else _PAGE}


def at_most(limit: int | None, found: Iterable[_One], notes: TextIO) -> list[_One]:
    """As many as ``--limit`` says; when it says nothing and there are more, that is noted."""
    if limit == -1:
        return list(found)
    if limit is not None:
        return list(itertools.islice(found, limit))
    some = list(itertools.islice(found, ROWS + 1))
    if len(some) > ROWS:
        notes.write(f"There are more than these {ROWS}; --limit -1 shows all\n")
    return some[:ROWS]

# SPDX-License-Identifier: Apache-2.0
"""What a benchmark found, as rows of Markdown, beside what the project demands."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True)
class Figure:
    """One row. ``holds`` is None where nothing is demanded.

    ``of_time`` is set when a busy machine alone can break the bound.
    """

    name: str
    value: str
    bound: str = ""
    holds: bool | None = None
    of_time: bool = False


def table(figures: Iterable[Figure]) -> str:
    """Markdown; a bound that is broken stands out."""
    lines = ["| figure | measured | bound |", "|---|---|---|"]
    for figure in figures:
        bound = f"{figure.bound} (**broken**)" if figure.holds is False else figure.bound
        lines.append(f"| {figure.name} | {figure.value} | {bound} |")
    return "\n".join(lines)


def broken(figures: Iterable[Figure]) -> list[Figure]:
    """Those that do not keep their bound."""
    return [figure for figure in figures if figure.holds is False]


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of the others do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def spread(values: Sequence[float], unit: str = "") -> str:
    """Minimum, median and maximum."""
    cells = (min(values), statistics.median(values), max(values))
    return " / ".join(f"{cell:.3g}" for cell in cells) + (f" {unit}" if unit else "")

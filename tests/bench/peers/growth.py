# SPDX-License-Identifier: Apache-2.0
"""How fast something grows: the exponent of a power of the size, fitted by least squares.

``y = c * x ** e`` is a straight line of slope ``e`` when both axes are logarithmic; 1 is linear.
Only the upper half of the points is fitted, for that is where a power shows. A part that does not
grow (a start) flattens the line and hides what does, so it is taken off first where it is known;
and where what is left over is small beside that part, nothing can be said of its growth, except
that it does not matter at these sizes.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

#: above this it is called faster than linear: what repeats differ by on a quiet machine is left
LINEAR = 1.1
#: a rise by less than this share of the first value is no rise that could be told from noise
_LEAST_RISE = 0.25


@dataclasses.dataclass(frozen=True)
class Growth:
    """``exponent`` is None where none can be told, and ``why`` says why not."""

    exponent: float | None
    why: str = ""

    @property
    def is_linear_at_most(self) -> bool:
        return self.exponent is None or self.exponent <= LINEAR


def upper_half(sizes: Sequence[float]) -> int:
    """Where the part begins that is fitted: at least three points, if there are as many."""
    return max(0, min(len(sizes) // 2, len(sizes) - 3))


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of the line through all these points, both axes logarithmic.

    :raises ValueError: for fewer than two sizes, and for what has no logarithm.
    """
    if len(set(sizes)) < 2:
        raise ValueError("a line needs two points")
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    return statistics.linear_regression(x, y).slope


def growth(sizes: Sequence[float], values: Sequence[float], constant: float = 0.0) -> Growth:
    """The growth of ``values`` over rising ``sizes``, of which a part is known to be constant."""
    begin = upper_half(sizes)
    above = [value - constant for value in values[begin:]]
    if max(values) < (1 + _LEAST_RISE) * values[0]:
        return Growth(None, f"hardly grows: {max(values) / values[0]:.2f} times at most")
    if min(above) <= 0:
        return Growth(None, "too little to be measured")
    return Growth(exponent(sizes[begin:], above))

# SPDX-License-Identifier: Apache-2.0
"""What the curves conclude: a power is found, whatever its size and beside what is constant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.peers import curves
from tests.bench.peers.growth import LINEAR, exponent, growth, upper_half

SIZES = (1, 2, 4, 8, 16, 24)


@given(
    power=st.floats(0.3, 3),
    factor=st.floats(1e-6, 1e6),
    sizes=st.lists(st.integers(1, 10_000), min_size=2, max_size=8, unique=True),
)
def test_a_power_is_found(power: float, factor: float, sizes: list[int]) -> None:
    values = [factor * size**power for size in sizes]
    assert exponent(sizes, values) == pytest.approx(power, abs=1e-6)


@given(power=st.floats(1.2, 3), factor=st.floats(1e-3, 1e3), share=st.floats(0.1, 100))
def test_a_start_hides_nothing(power: float, factor: float, share: float) -> None:
    work = [factor * size**power for size in SIZES]
    start = share * work[-1]
    found = growth(SIZES, [start + one for one in work], start)
    # A rise that is small beside the start is not judged, and says so.
    if found.exponent is None:
        assert (start + work[-1]) / (start + work[0]) < 1.25
        assert "hardly" in found.why
    else:
        assert found.exponent == pytest.approx(power, abs=0.01)
        assert not found.is_linear_at_most


def test_linear_is_linear() -> None:
    found = growth(SIZES, [0.3 + 0.01 * size for size in SIZES])
    assert found.exponent is not None and found.exponent < LINEAR
    assert found.is_linear_at_most


def test_what_is_below_the_start_is_not_judged() -> None:
    found = growth((1, 2, 3), (1.0, 2.0, 3.0), 5.0)
    assert found.exponent is None and "too little" in found.why


@pytest.mark.parametrize(("count", "begin"), [(2, 0), (3, 0), (4, 1), (5, 2), (6, 3), (9, 4)])
def test_the_upper_half_has_three_points(count: int, begin: int) -> None:
    assert upper_half(range(count)) == begin


def test_one_point_is_no_line() -> None:
    with pytest.raises(ValueError, match="two points"):
        exponent((3, 3), (1, 2))


def test_a_point_that_was_measured_twice() -> None:
    first = {"x": 10, "audit": {"seconds": [1.0, 2.0], "client_cpu_seconds": 0.5, "quiet": 10}}
    second = {"x": 10, "audit": {"seconds": [4.0, 3.0], "client_cpu_seconds": 0.7, "quiet": 10}}
    both = curves.merged(first, second)
    assert both["x"] == 10
    assert both["audit"]["seconds"] == [1.0, 2.0, 4.0, 3.0]
    assert both["audit"]["client_cpu_seconds"] == pytest.approx(0.6)
    assert both["audit"]["quiet"] == 10

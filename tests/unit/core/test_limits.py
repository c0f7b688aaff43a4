# SPDX-License-Identifier: Apache-2.0
"""How limits compare."""

from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit import limits

LIMITS = st.integers(min_value=-1, max_value=2**31 - 1)


@given(LIMITS, LIMITS)
def test_the_lesser_of_two_limits(one: int, other: int) -> None:
    def allows(limit: int, gib: int) -> bool:
        return limit == limits.UNLIMITED or gib <= limit

    both = limits.lesser(one, other)
    for gib in (0, one, other, one + 1, other + 1, 2**31):
        if gib >= 0:
            assert allows(both, gib) == (allows(one, gib) and allows(other, gib))

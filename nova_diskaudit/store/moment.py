# SPDX-License-Identifier: Apache-2.0
"""Times as the database keeps them: microseconds since 1970, UTC."""

from __future__ import annotations

import datetime

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def of(time: datetime.datetime) -> int:
    """The moment of an aware ``time``, to the microsecond."""
    return (time - _EPOCH) // _MICROSECOND


def time(moment: int) -> datetime.datetime:
    """The aware time, in UTC, of a moment that :func:`of` gave."""
    return _EPOCH + datetime.timedelta(microseconds=moment)

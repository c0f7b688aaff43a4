# SPDX-License-Identifier: Apache-2.0
"""One question through a lane: an answer, or the doubt that stands for it. Never an exception."""

from __future__ import annotations

import time
from typing import TypeVar

from nova_diskaudit.audit.options import Deadlines
from nova_diskaudit.facts import Doubt
from nova_diskaudit.findings import CATALOGUE
from nova_diskaudit.lane.errors import DeadlineMissed, LaneBroken, LaneRefused, NoToken
from nova_diskaudit.lane.lanes import Lanes
from nova_diskaudit.lane.operations import Operation

_T = TypeVar("_T")
_TOO_LATE = Doubt(code="audit-deadline", detail="no answer within --timeout")


class Questions:
    """Asks until the time of the sweep is over, then answers for everybody: too late."""

    def __init__(self, lanes: Lanes, timeout: float, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self._lanes = lanes
        self._end = time.monotonic() + timeout

    def ask(
        self,
        operation: Operation[_T],
        *arguments: object,
        seconds: float,
        missed: str,
        subject: str | None = None,
    ) -> _T | Doubt:
        """Ask one thing.

        :param seconds: how long to wait, less when the sweep has less left.
        :param missed: the code of the finding for no answer in that time.
        :param subject: the UUID of the domain in question.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            return _TOO_LATE
        try:
            return self._lanes.call(
                operation, *arguments, deadline=min(seconds, left), subject=subject
            )
        except DeadlineMissed:
            if left < seconds:
                return _TOO_LATE
            return Doubt(code=missed, detail=f"no answer in {seconds:g} s")
        except NoToken:
            return Doubt(code="libvirt-busy")
        except LaneRefused as refusal:
            return known_doubt(refusal.code, refusal.detail, missed)
        except LaneBroken as broken:
            return Doubt(code=missed, detail=str(broken))


def known_doubt(code: str, detail: str | None, otherwise: str) -> Doubt:
    """A doubt with a code of the catalogue; another one's text goes under ``otherwise``."""
    return Doubt(code=code if code in CATALOGUE else otherwise, detail=detail)

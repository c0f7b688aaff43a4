# SPDX-License-Identifier: Apache-2.0
"""One question through a lane: an answer, or the doubt that stands for it. Never an exception."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar

from nova_diskaudit.audit.options import Deadlines
from nova_diskaudit.facts import Doubt
from nova_diskaudit.findings import CATALOGUE
from nova_diskaudit.lane.errors import DeadlineMissed, LaneError, LaneRefused, NoToken
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
        (answer,) = self.ask_each(
            operation, [arguments], seconds=seconds, missed=missed, subjects=[subject]
        )
        return answer

    def ask_each(
        self,
        operation: Operation[_T],
        things: Sequence[tuple[object, ...]],
        *,
        seconds: float,
        missed: str,
        subjects: Sequence[str | None],
    ) -> list[_T | Doubt]:
        """Ask the same about several things, each by the arguments of a single question.

        :returns: the answers, at least the first. They end behind the one that was not answered
            in time; who still wants the rest asks anew.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            return [_TOO_LATE] * len(things)
        outcomes = self._lanes.call_each(
            operation,
            things,
            deadline=min(seconds, left),
            subjects=subjects,
            all_seconds=left,
        )
        late = left < seconds or time.monotonic() >= self._end
        answers: list[_T | Doubt] = []
        for outcome in outcomes:
            if not isinstance(outcome, LaneError):
                answers.append(outcome)
            elif isinstance(outcome, DeadlineMissed):
                detail = f"no answer in {seconds:g} s"
                answers.append(_TOO_LATE if late else Doubt(code=missed, detail=detail))
            elif isinstance(outcome, NoToken):
                answers.append(Doubt(code="libvirt-busy"))
            elif isinstance(outcome, LaneRefused):
                answers.append(known_doubt(outcome.code, outcome.detail, missed))
            else:
                answers.append(Doubt(code=missed, detail=str(outcome)))
        return answers


def known_doubt(code: str, detail: str | None, otherwise: str) -> Doubt:
    """A doubt with a code of the catalogue; another one's text goes under ``otherwise``."""
    return Doubt(code=code if code in CATALOGUE else otherwise, detail=detail)

# SPDX-License-Identifier: Apache-2.0
"""Why a call to a lane brought no result."""

from __future__ import annotations


class LaneError(Exception):
    """Base of them all."""


class DeadlineMissed(LaneError):
    """No answer within the deadline. The call goes on in a parked child."""

    def __init__(self, subject: str, seconds: float) -> None:
        super().__init__(f"{subject}: no answer within {seconds:g} s")
        self.subject = subject


class LaneRefused(LaneError):
    """The operation answered with an error: ``code`` is a finding's code."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class NoToken(LaneError):
    """Earlier calls wait on a QEMU or a guest and hold every token of this kind."""

    def __init__(self, kind: str, holders: tuple[str, ...]) -> None:
        super().__init__(f"all {kind} tokens are held by calls for {', '.join(holders) or '?'}")
        self.kind = kind
        self.holders = holders


class LaneBroken(LaneError):
    """The child died, could not be started, or broke the protocol."""

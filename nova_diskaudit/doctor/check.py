# SPDX-License-Identifier: Apache-2.0
"""One thing that was looked at, as data."""

from __future__ import annotations

from typing import Literal

import msgspec

Outcome = Literal["ok", "warning", "error", "skipped"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen (``detail``), and what to do about it (``action``, empty when all is well)."""

    name: str
    outcome: Outcome
    detail: str
    action: str = ""

# SPDX-License-Identifier: Apache-2.0
"""What a load balancer is told."""

from __future__ import annotations

from typing import Literal

import msgspec


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The worker answers, and its database does."""

    status: Literal["ok"]

# SPDX-License-Identifier: Apache-2.0
"""Answers to a report; what it is itself is :class:`nova_diskaudit.protocol.Report`."""

from __future__ import annotations

import msgspec

from nova_diskaudit.api.schemas.common import ErrorEntry


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The report is the current one of its host."""

    current: str


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Code ``report-chain``: ``current`` is what a full report has to replace, null if nothing.

    Code ``host-held``: another agent speaks for the host; Retry-After says for how long at least.
    """

    errors: tuple[ErrorEntry, ...]
    current: str | None = None

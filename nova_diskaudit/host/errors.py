# SPDX-License-Identifier: Apache-2.0
"""The one error of this room: a code an operator can look up, and what was seen."""

from __future__ import annotations


class HostError(Exception):
    """The host could not answer. ``code`` is a finding's code, ``detail`` one clause of text."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

# SPDX-License-Identifier: Apache-2.0
"""The page."""

from __future__ import annotations

from typing import Annotated

import msgspec

FileName = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{1,32}\.(css|js|svg)$")]

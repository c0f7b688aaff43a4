# SPDX-License-Identifier: Apache-2.0
"""Lists in pages: how many at once, and the link to the following ones."""

from __future__ import annotations

import urllib.parse

from nova_diskaudit.api.call import Call
from nova_diskaudit.api.schemas.common import Link


def limit(call: Call, unasked: int | None = None) -> int:
    """How many entries the answer may have; ``unasked``: if the caller does not say (all)."""
    wanted: int | None = call.query.limit if call.query.limit is not None else unasked
    most = call.service.max_limit
    return most if wanted is None else min(wanted, most)


def links(call: Call, more: bool, last: str) -> tuple[Link, ...]:
    """The link ``next``, if there is more after ``last``: the same question, continued."""
    if not more:
        return ()
    request = call.request
    given = urllib.parse.parse_qsl(request.query_string, keep_blank_values=True)
    words = [(name, value) for name, value in given if name != "marker"]
    query = urllib.parse.urlencode([*words, ("marker", last)])
    # prefix: scheme, host, and where the service is mounted.
    return (Link(rel="next", href=f"{request.prefix}{request.path}?{query}"),)

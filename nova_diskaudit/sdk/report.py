# SPDX-License-Identifier: Apache-2.0
"""The one call of an agent: where a report is put, and how it says what it is."""

from __future__ import annotations

import urllib.parse

#: Accept-Encoding: the answers are short, and what is not packed cannot burst when unpacked.
HEADERS = {
    "Content-Type": "application/json",
    "Content-Encoding": "gzip",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}


def path(host: str) -> str:
    """``/v1/hosts/{host}/report``, the name percent-encoded.

    :raises ValueError: for a name that a URL's path would lose.
    """
    if host in ("", ".", ".."):
        raise ValueError(f"host name {host!r} cannot be part of a URL")
    return f"/v1/hosts/{urllib.parse.quote(host, safe='')}/report"

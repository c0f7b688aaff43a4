# SPDX-License-Identifier: Apache-2.0
"""``/page``: what a browser is given, the same for everybody."""

from __future__ import annotations

from nova_diskaudit.api import errors, page
from nova_diskaudit.api.call import Answer, Call

# Scripts, styles and answers of this origin, and nothing from anywhere else; text never becomes
# markup (Trusted Types, in browsers that know them); no page frames it.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    # Kept, and asked for again each time: a new release is seen at once, and costs a 304 before.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def shown(call: Call) -> Answer:
    """The page itself. It holds no data: its scripts ask this API with the token of who looks."""
    return _answer(call, "index.html")


def file(call: Call) -> Answer:
    """A script, the styles or the icon of the page."""
    return _answer(call, call.path["file"])


def _answer(call: Call, name: str) -> Answer:
    found = page.FILES.get(name)
    if found is None:
        raise errors.not_found("the page has no such file")
    headers = {**_HEADERS, "ETag": f'"{found.tag}"'}
    known = call.request.if_none_match or ()
    # A proxy that packs what it passes on makes a weak tag of it.
    if any(tag == "*" or tag == found.tag for tag in known):
        return Answer("", status=304, content_type=None, headers=headers)
    return Answer(found.text, content_type=found.content_type, headers=headers)

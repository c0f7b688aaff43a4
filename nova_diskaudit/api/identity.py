# SPDX-License-Identifier: Apache-2.0
"""Who asks: by Keystone's word, or, on one machine, because nobody else can connect."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from oslo_context import context

from nova_diskaudit.api import dispatch, errors

WsgiApplication = Any

# What a proxy leaves behind. Without Keystone nobody may come through one: their address is lost.
_FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_VIA")
_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


def by_keystone(application: WsgiApplication) -> WsgiApplication:
    """Take over what keystonemiddleware, before us, found out."""

    def identify(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # Confirmed even if an operator let keystonemiddleware delay its decision.
        if environ.get("HTTP_X_IDENTITY_STATUS") == "Confirmed":
            environ[dispatch.CALLER] = context.RequestContext.from_environ(environ, overwrite=False)
        return application(environ, start_response)

    return identify


def by_loopback(application: WsgiApplication) -> WsgiApplication:
    """Whoever is on this machine is operator and agent; nobody else gets an answer.

    A browser on this machine may be led here by a page from elsewhere (by a name that suddenly
    means 127.0.0.1): so the name that is asked for has to be loopback as well.
    """

    def identify(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not is_local(environ):
            error = errors.forbidden(
                "without Keystone this service answers on loopback only, and not through a proxy"
            )
            data = errors.body(error, environ.get(dispatch.REQUEST_ID))
            headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
            start_response("403 Forbidden", headers)
            return [data]
        environ[dispatch.CALLER] = context.RequestContext(
            user_id="noauth",
            roles=["admin", "diskaudit_agent"],
            request_id=environ.get(dispatch.REQUEST_ID),
        )
        return application(environ, start_response)

    return identify


def is_local(environ: dict[str, Any]) -> bool:
    """Whether a request came from this machine, straight and by a name of it."""
    if any(name in environ for name in _FORWARDED):
        return False
    host = environ.get("HTTP_HOST", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]")
    return is_loopback(environ.get("REMOTE_ADDR", "")) and (
        name in _LOOPBACK_NAMES or is_loopback(name)
    )


def is_loopback(address: str) -> bool:
    """Whether this is an IP address of the machine's loopback."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback

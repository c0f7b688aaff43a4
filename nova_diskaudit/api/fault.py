# SPDX-License-Identifier: Apache-2.0
"""Errors of the layers below the application, in the words of the application.

keystonemiddleware has a form of its own when a token is not valid, or Keystone is away.
"""

from __future__ import annotations

import http
import logging
from collections.abc import Iterable
from typing import Any

from nova_diskaudit.api import dispatch, errors

LOG = logging.getLogger(__name__)

_RETRY_AFTER_SECONDS = "10"
_REPLACED = frozenset({"content-type", "content-length"})


def translated(application: Any) -> Any:
    """The same application, whose errors are all JSON with the request's id."""

    def translate(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        begun: list[Any] = []

        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if int(status[:3]) < 400 or environ.get(dispatch.REACHED):
                return start_response(status, headers, *([exc_info] if exc_info else []))
            begun[:] = [status, headers]
            return lambda _: None

        try:
            body = application(environ, begin)
        except Exception:
            LOG.exception("A defect below the application")
            body, begun[:] = (), ["500 Internal Server Error", []]
        if not begun:
            return body
        getattr(body, "close", lambda: None)()
        status, headers = begun
        number = int(status[:3])
        known = http.HTTPStatus(number)
        code = known.phrase.lower().replace(" ", "-")
        error = errors.ApiError(number, code, known.phrase)
        data = errors.body(error, environ.get(dispatch.REQUEST_ID))
        kept = [(name, value) for name, value in headers if name.lower() not in _REPLACED]
        if number == 503 and not any(name.lower() == "retry-after" for name, _ in kept):
            kept.append(("Retry-After", _RETRY_AFTER_SECONDS))
        kept += [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        start_response(status, kept)
        return [data]

    return translate

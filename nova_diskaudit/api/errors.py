# SPDX-License-Identifier: Apache-2.0
"""Errors as the API guidelines of OpenStack have them: a list of one, with the request's id."""

from __future__ import annotations

from typing import Any

import msgspec


class ApiError(Exception):
    """An answer that is not a success.

    :param code: one word of ours, stable: programs decide by it.
    :param title: what it is, in a few words that every such error has.
    :param detail: what it is this time.
    :param members: what the answer has beside its ``errors``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str = "",
        *,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.headers = headers or {}
        self.members = members


def body(error: ApiError, request_id: str | None) -> bytes:
    """The JSON of an error."""
    entry: dict[str, Any] = {
        "status": error.status,
        "code": error.code,
        "title": error.title,
        "detail": error.detail or error.title,
    }
    if request_id is not None:
        entry["request_id"] = request_id
    return msgspec.json.encode({"errors": [entry], **error.members})


def bad_request(detail: str, code: str = "bad-request") -> ApiError:
    """The question is not one."""
    return ApiError(400, code, "Bad request", detail)


def unauthorized() -> ApiError:
    """Nobody knows who asks."""
    return ApiError(401, "unauthorized", "The request needs a valid token")


def forbidden(detail: str, code: str = "forbidden") -> ApiError:
    """It is known who asks, and they may not."""
    return ApiError(403, code, "Forbidden", detail)


def not_found(detail: str) -> ApiError:
    """There is no such thing, or none that the asker may see."""
    return ApiError(404, "not-found", "Not found", detail)


def unavailable(retry_after_seconds: int = 10) -> ApiError:
    """The database cannot do it now."""
    return ApiError(
        503,
        "database-unavailable",
        "The database is not available",
        "nothing was changed; try again later",
        headers={"Retry-After": str(retry_after_seconds)},
    )

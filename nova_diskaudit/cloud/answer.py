# SPDX-License-Identifier: Apache-2.0
"""One question to a service of the cloud, and its answer as values: bounded, and read strictly."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeVar

import msgspec
import openstack.connection
import requests

from nova_diskaudit.cloud import CloudError
from nova_diskaudit.cloud.connection import translated

_T = TypeVar("_T")

#: Placement and Keystone tell of ten thousand hosts or projects in one answer without pages, at
#: about 1 KiB each; a page of Nova's has a thousand servers, at about 5 KiB each.
MAX_BYTES = 64 * 2**20
#: Each read has the timeout of the connection; a service may not drip for longer than this.
MAX_SECONDS = 300.0
_CHUNK = 2**16


Service = Literal["compute", "identity", "placement"]
_NAMES: dict[Service, str] = {
    "compute": "Nova",
    "identity": "Keystone",
    "placement": "Placement",
}


class Refused(CloudError):
    """The service answered with an error; ``status`` is that of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Answer(NamedTuple):
    """What was answered, as it came."""

    data: bytes
    headers: Mapping[str, str]


class _Said(msgspec.Struct):
    """What an error of OpenStack carries: Keystone's form, or Placement's list."""

    error: dict[str, object] = {}
    errors: list[dict[str, object]] = []


def ask(
    connection: openstack.connection.Connection,
    service: Service,
    method: str,
    path: str,
    type: type[_T],
    *,
    params: dict[str, str] | None = None,
    json: object = None,
    microversion: str | None = None,
) -> _T:
    """What ``service`` answers, as ``type``.

    :raises Refused: for an answer that is an error.
    :raises CloudError: when it is away, or its answer is too long, too slow or not understood.
    """
    found = fetch(
        connection, service, method, path, params=params, json=json, microversion=microversion
    )
    return decode(found.data, type, service)


def fetch(
    connection: openstack.connection.Connection,
    service: Service,
    method: str,
    path: str,
    *,
    params: dict[str, str] | None = None,
    json: object = None,
    microversion: str | None = None,
) -> Answer:
    """What ``service`` answers, unread.

    :raises Refused: for an answer that is an error.
    :raises CloudError: when it is away, or its answer is too long or too slow.
    """
    name = _NAMES[service]
    with translated():
        # Who asks openstacksdk for a service may make it ask for the service's versions.
        response = getattr(connection, service).request(
            path, method, params=params or {}, json=json, microversion=microversion, stream=True
        )
        data = _read(response, name, path)
    if not 200 <= response.status_code < 300:
        why = _reason(data)
        raise Refused(
            f"{name} answered {response.status_code} to {method} {path}{why}", response.status_code
        )
    return Answer(data, response.headers)


def decode(data: bytes, type: type[_T], service: Service) -> _T:
    """An answer's body as ``type``.

    :raises CloudError: when it is not understood.
    """
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise CloudError(f"an answer of {_NAMES[service]} is not understood: {error}") from None


def _read(response: requests.Response, name: str, path: str) -> bytes:
    until = time.monotonic() + MAX_SECONDS
    chunks: list[bytes] = []
    size = 0
    with response:
        for chunk in response.iter_content(_CHUNK):
            size += len(chunk)
            if size > MAX_BYTES:
                raise CloudError(f"the answer of {name} to {path} is longer than {MAX_BYTES} bytes")
            if time.monotonic() > until:
                raise CloudError(f"the answer of {name} to {path} takes too long")
            chunks.append(chunk)
    return b"".join(chunks)


def _reason(data: bytes) -> str:
    """What an error says of itself; nothing, if that is not plain."""
    try:
        said = msgspec.json.decode(data, type=_Said)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return ""
    words = said.error.get("message") or next((one.get("detail") for one in said.errors), None)
    if not isinstance(words, str):
        return ""
    plain = "".join(c if c.isprintable() else " " for c in words[:1000])
    return f": {' '.join(plain.split())[:300]}"

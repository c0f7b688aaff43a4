# SPDX-License-Identifier: Apache-2.0
"""Gnocchi's API, as far as a sender of measures needs it (4.3 and later).

A resource is one disk of one instance. Gnocchi makes a metric when the first measure of it comes,
and takes a measure of the same time twice for one (``carbonara.py``: of two values at one time the
later stands), so whatever is not acknowledged may be sent again.
"""

from __future__ import annotations

import datetime
import urllib.parse
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from keystoneauth1 import adapter
from oslo_config import cfg

from nova_diskaudit.cloud import CloudError
from nova_diskaudit.cloud.connection import session, translated

_T = TypeVar("_T")

RESOURCE_TYPE = "nova_diskaudit_disk"
#: Of a text: Gnocchi allows 256, and its tables too.
TEXT = 255

_GROUP = "gnocchi"
_PAGE = 1000
_MAX_PAGES = 1000
_HOUR, _DAY = 3600, 86400

_TEXT: Mapping[str, Any] = {
    "type": "string",
    "required": False,
    "min_length": 0,
    "max_length": TEXT,
}
#: All but one may be absent: Gnocchi can add only such ones to a type that has resources.
_ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    "instance_id": {"type": "uuid", "required": True},
    "disk": _TEXT,
    "target": _TEXT,
    "kind": _TEXT,
    "host": _TEXT,
}
#: Which value of an hour is meant depends on what is asked: hence four of them. There is no sum:
#: that of a level means nothing.
_AGGREGATES = ("last", "max", "mean", "min")
_DEFINITION = (
    {"granularity": f"{_HOUR} s", "points": 90 * 24},
    {"granularity": f"{_DAY} s", "points": 3 * 365},
)


class Refused(CloudError):
    """Gnocchi does not take what was sent; sent again it would be the same."""


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One disk. ``disk`` is its name in its storage, which stays; ``target`` is where the guest has
    it now.
    """

    id: str
    instance_id: str
    project_id: str | None
    user_id: str | None
    disk: str | None
    target: str | None
    kind: str | None
    host: str | None


class _ResourceType(msgspec.Struct):
    attributes: dict[str, dict[str, Any]]


class Gnocchi:
    """Gnocchi's API, by keystoneauth."""

    def __init__(self, client: adapter.Adapter) -> None:
        self._client = client

    # --- what `setup` makes ------------------------------------------------------------------

    def require_set_up(self, archive_policy: str) -> None:
        """Return if there is all that measures need.

        :raises CloudError: saying what to do, if there is not.
        """
        policy_path = f"/v1/archive_policy/{urllib.parse.quote(archive_policy, safe='')}"
        for path in (policy_path, _type_path()):
            answer = self._request("GET", path, accept=(200, 404))
            if answer.status_code == 404:
                raise CloudError(
                    f"Gnocchi has no {path[4:].replace('/', ' ')}: run nova-diskaudit-manage "
                    "gnocchi setup"
                )

    def make_archive_policy(self, name: str) -> bool:
        """Make it, if there is none of this name; whether it was made.

        :raises CloudError:
        """
        body = {
            "name": name,
            # One coarsest period of measures is kept anyway, and no state is older when it comes.
            "back_window": 0,
            "aggregation_methods": list(_AGGREGATES),
            "definition": list(_DEFINITION),
        }
        answer = self._request("POST", "/v1/archive_policy", body, accept=(201, 409))
        return bool(answer.status_code == 201)

    def make_resource_type(self) -> bool:
        """Make it, or add what it lacks of a later release; whether anything was done.

        :raises CloudError: also when somebody else has one of this name with other attributes.
        """
        body = {"name": RESOURCE_TYPE, "attributes": _ATTRIBUTES}
        answer = self._request("POST", "/v1/resource_type", body, accept=(201, 409))
        if answer.status_code == 201:
            return True
        known = _decode(self._request("GET", _type_path()).content, _ResourceType).attributes
        for name, wanted in _ATTRIBUTES.items():
            if name in known and known[name].get("type") != wanted["type"]:
                raise CloudError(
                    f"Gnocchi's resource type {RESOURCE_TYPE} has an attribute {name} of type "
                    f"{known[name].get('type')!r}: it is not ours"
                )
        missing = [name for name in _ATTRIBUTES if name not in known]
        if not missing:
            return False
        changes = [
            {"op": "add", "path": f"/attributes/{name}", "value": _ATTRIBUTES[name]}
            for name in missing
        ]
        kind = "application/json-patch+json"
        self._request("PATCH", _type_path(), changes, content_type=kind)
        return True

    # --- resources ---------------------------------------------------------------------------

    def alive(self, instance_ids: Iterable[str]) -> Iterator[Resource]:
        """The resources of these instances that have not ended.

        :raises CloudError:
        """
        wanted = sorted(set(instance_ids))
        if not wanted:
            return
        not_ended = {"=": {"ended_at": None}}
        condition = {"and": [not_ended, {"in": {"instance_id": wanted}}]}
        path = f"/v1/search/resource/{RESOURCE_TYPE}?limit={_PAGE}&sort=id:asc"
        marker = ""
        for _ in range(_MAX_PAGES):
            answer = self._request("POST", path + marker, condition)
            page = _decode(answer.content, list[Resource])
            yield from page
            if not page or "next" not in answer.links:
                return
            marker = f"&marker={page[-1].id}"
        raise CloudError(f"more than {_MAX_PAGES} pages of resources")

    def create(self, one: Resource, *, started_at: datetime.datetime) -> None:
        """A new resource; it is no mistake if it is there already.

        :raises Refused:
        :raises CloudError:
        """
        body = {**_fields(one), "started_at": timestamp(started_at)}
        path = f"/v1/resource/{RESOURCE_TYPE}"
        self._request("POST", path, body, accept=(201, 409), may_be_refused=True)

    def update(self, one: Resource) -> None:
        """New attributes of a resource; Gnocchi keeps the old ones as its history.

        :raises Refused:
        :raises CloudError:
        """
        fields = {name: value for name, value in _fields(one).items() if name != "id"}
        self._request("PATCH", _resource_path(one.id), fields, may_be_refused=True)

    def end(self, id: str, *, ended_at: datetime.datetime) -> None:
        """Say of a resource that it is no more. It is no mistake if it was removed meanwhile.

        :raises CloudError:
        """
        body = {"ended_at": timestamp(ended_at)}
        self._request("PATCH", _resource_path(id), body, accept=(200, 404))

    # --- measures ----------------------------------------------------------------------------

    def send(self, body: bytes) -> None:
        """Measures by resource and metric, as ``POST /v1/batch/resources/metrics/measures`` has
        them. All of them are kept when this returns.

        :raises Refused:
        :raises CloudError: what of them is kept is not known.
        """
        path = "/v1/batch/resources/metrics/measures?create_metrics=true"
        self._request("POST", path, body, accept=(202,), may_be_refused=True)

    def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        accept: Sequence[int] = (200,),
        content_type: str = "application/json",
        may_be_refused: bool = False,
    ) -> Any:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        with translated():
            answer = self._client.request(
                path,
                method,
                data=None if body is None else data,
                # Without Accept, Gnocchi tells errors as pages.
                headers={"Content-Type": content_type, "Accept": "application/json"},
                raise_exc=False,
            )
        if answer.status_code in accept:
            return answer
        said = " ".join(answer.text[:2000].split())[:300]
        asked = f"{method} {path.partition('?')[0]}"
        words = f"Gnocchi answered {answer.status_code} to {asked}: {said}"
        if may_be_refused and answer.status_code in (400, 413, 422):
            raise Refused(words)
        raise CloudError(words)


def connect(conf: cfg.ConfigOpts) -> Gnocchi:
    """Gnocchi as ``[gnocchi]`` describes it. Nothing is asked yet.

    :raises nova_diskaudit.conf.ConfigurationError: for options that are missing or cannot be used.
    """
    group = conf[_GROUP]
    client = adapter.Adapter(
        session(conf, _GROUP),
        service_type=group.service_type,
        interface=group.valid_interfaces,
        region_name=group.region_name,
        endpoint_override=group.endpoint_override,
        connect_retries=1,
        status_code_retries=0,
    )
    return Gnocchi(client)


def timestamp(time: datetime.datetime) -> str:
    """A time as Gnocchi reads it: UTC, which it does not want to be told."""
    return time.astimezone(datetime.UTC).replace(tzinfo=None).isoformat()


def _fields(one: Resource) -> dict[str, Any]:
    # Gnocchi takes null for no text of its own attributes; such a one is left out.
    fields: dict[str, Any] = msgspec.structs.asdict(one)
    return {name: value for name, value in fields.items() if value is not None}


def _resource_path(id: str) -> str:
    return f"/v1/resource/{RESOURCE_TYPE}/{uuid.UUID(id)}"


def _type_path() -> str:
    return f"/v1/resource_type/{RESOURCE_TYPE}"


def _decode(data: bytes, type: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise CloudError(f"an answer of Gnocchi is not understood: {error}") from None

# SPDX-License-Identifier: Apache-2.0
"""From a request to its handler and back, the same way for every call.

Who asks and what they may see is decided before a handler is called, by the route's own line in
the table, so no handler can forget it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from typing import Any

import falcon
import msgspec
from oslo_context import context

from nova_diskaudit.api import errors, policy, routes
from nova_diskaudit.api.call import Answer, Call, Service
from nova_diskaudit.store import errors as store_errors
from nova_diskaudit.store import scope

LOG = logging.getLogger(__name__)

#: Set by the middleware that authenticates, :mod:`nova_diskaudit.api.identity`.
CALLER = "nova_diskaudit.caller"
REQUEST_ID = "openstack.request_id"
#: Set here: whatever the answer is, it is this application's.
REACHED = "nova_diskaudit.reached"


def application(
    service: Service, table: Iterable[routes.Route] = routes.ROUTES
) -> falcon.App[Any, Any]:
    """These routes as a WSGI application."""
    app: falcon.App[Any, Any] = falcon.App(middleware=[_Reached()])
    app.set_error_serializer(_serialize)
    app.add_error_handler(Exception, _failed)
    app.add_error_handler(errors.ApiError, _refused)
    app.add_error_handler(store_errors.StoreError, _unavailable)
    by_path: dict[str, list[routes.Route]] = {}
    for route in table:
        by_path.setdefault(route.path, []).append(route)
    for path, same_path in by_path.items():
        app.add_route(path, _resource(service, same_path))
    return app


class _Reached:
    def process_request(self, request: falcon.Request, _: falcon.Response) -> None:
        request.env[REACHED] = True


def _resource(service: Service, same_path: list[routes.Route]) -> Any:
    """What Falcon asks for: an object with a method for each method."""
    responders: dict[str, Any] = {}
    for route in same_path:
        responder = staticmethod(functools.partial(_respond, service, route))
        responders[f"on_{route.method.lower()}"] = responder
        if route.method == "GET":
            responders["on_head"] = responder
    return type("Resource", (), responders)()


def _respond(
    service: Service,
    route: routes.Route,
    request: falcon.Request,
    response: falcon.Response,
    **path: str,
) -> None:
    who: scope.Scope = scope.Everything()
    if isinstance(route.access, policy.Public):
        # Also for the log: the thread has the last request's otherwise.
        caller = context.RequestContext(request_id=request.env.get(REQUEST_ID))
    else:
        known: context.RequestContext | None = request.env.get(CALLER)
        if known is None:
            raise errors.unauthorized()
        caller = known
        who = policy.scope_of(service.enforcer, route.access, caller)
    for name, value in path.items():
        if not _is_valid(value, routes.PATH_TYPES[name]):
            raise errors.not_found(f"no {name} can have this name")
    call = Call(
        service=service,
        request=request,
        path=path,
        query=_query(request.query_string, route.query),
        caller=caller,
        who=who,
    )
    answer: Answer = route.handler(call)
    response.status = answer.status
    response.content_type = answer.content_type
    response.set_headers(dict(answer.headers))
    if isinstance(answer.body, str):
        response.text = answer.body
    else:
        response.data = msgspec.json.encode(answer.body)


class _NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


def _query(text: str, type: Any) -> Any:
    given = falcon.uri.parse_query_string(text, keep_blank=True)
    type = type or _NoQuery
    words: dict[str, Any] = {}
    for name, value in given.items():
        if not isinstance(value, str):
            raise errors.bad_request(f"{name} is given twice")
        # Not all that JSON allows in a text: "null" is a name like any other.
        words[name] = int(value) if name in _numbers(type) and _is_number(value) else value
    try:
        return msgspec.convert(words, type)
    except msgspec.ValidationError as error:
        raise errors.bad_request(f"the query is not valid: {error}") from None


@functools.cache
def _numbers(type: Any) -> frozenset[str]:
    """Names of fields that are integers."""
    found = set()
    for field in msgspec.inspect.type_info(type).fields:  # type: ignore[attr-defined]
        kinds = getattr(field.type, "types", (field.type,))
        if any(isinstance(kind, msgspec.inspect.IntType) for kind in kinds):
            found.add(field.encode_name)
    return frozenset(found)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _is_valid(text: str, type: Any) -> bool:
    try:
        msgspec.convert(text, type)
    except msgspec.ValidationError:
        return False
    return True


# --- what is not a success --------------------------------------------------------------------


def _answer(response: falcon.Response, request: falcon.Request, error: errors.ApiError) -> None:
    response.status = error.status
    response.content_type = "application/json"
    response.data = errors.body(error, request.env.get(REQUEST_ID))
    response.set_headers(error.headers)


def _refused(
    request: falcon.Request, response: falcon.Response, error: errors.ApiError, _: object
) -> None:
    _answer(response, request, error)


def _unavailable(
    request: falcon.Request,
    response: falcon.Response,
    error: store_errors.StoreError,
    _: object,
) -> None:
    # That a table is missing does not pass by itself, but it passes: nothing is lost meanwhile.
    level = logging.WARNING if isinstance(error, store_errors.Unavailable) else logging.ERROR
    LOG.log(level, "%s %s: the database: %s", request.method, request.path, error)
    _answer(response, request, errors.unavailable())


def _failed(
    request: falcon.Request, response: falcon.Response, error: Exception, _: object
) -> None:
    LOG.error("A defect of ours in %s %s", request.method, request.path, exc_info=error)
    _answer(
        response,
        request,
        errors.ApiError(500, "defect", "Internal error", "the log of the service says more"),
    )


def _serialize(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> None:
    """Falcon's own: no such path, no such method."""
    status = falcon.http_status_to_code(error.status)
    title = (error.title or "").partition(" ")[2] or "Error"
    code = title.lower().replace(" ", "-")
    _answer(response, request, errors.ApiError(status, code, title, error.description or ""))

# SPDX-License-Identifier: Apache-2.0
"""The application in this process, with a clock that stands still.

Who asks is told by the token itself, which is one of :data:`TOKENS`: tokens of a real Keystone are
another test's. Everything behind that runs as it does in production.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import pathlib
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref import simple_server

import sqlalchemy as sa

from nova_diskaudit.api import app
from nova_diskaudit.conf import service
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import schema
from tests.service.page import scenery
from tests.unit.api.service import by_headers

NOW = datetime.datetime(2026, 11, 25, 14, 20, tzinfo=datetime.UTC)

OPERATOR, TENANT, POOR, STRANGER = (
    f"gAAAAABrB-a-token-of-{who}" for who in ("operator", "tenant", "poor", "stranger")
)
#: Headers as keystonemiddleware makes them.
TOKENS = {
    OPERATOR: {"X_ROLES": "admin,reader", "X_USER_ID": "olga", "X_PROJECT_ID": "admin"},
    TENANT: {"X_ROLES": "member,reader", "X_USER_ID": "tom", "X_PROJECT_ID": scenery.SHOP},
    POOR: {"X_ROLES": "reader", "X_USER_ID": "pia", "X_PROJECT_ID": "a-project-without-anything"},
    STRANGER: {"X_ROLES": "heat_stack_user", "X_USER_ID": "sam", "X_PROJECT_ID": "x"},
}

Wsgi = Any


class House:
    """Where it listens, and how it can be disturbed."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.url = ""
        #: asked before the application; what it returns is the answer, if that is not None
        self.before: Callable[[dict[str, Any], Any], Any] | None = None


@contextlib.contextmanager
def opened(
    directory: pathlib.Path, *, hours: int = 0, empty: bool = False, hostile: bool = True
) -> Iterator[House]:
    """A house, with the whole scenery in it.

    :param hours: of the past.
    :param empty: without anything.
    :param hostile: whether one of the instances means harm.
    """
    conf = service.unread()
    conf([], project=service.PROJECT, prog=service.PROGRAM, default_config_files=[])
    conf.set_override("auth_strategy", "keystone", group="api")
    engine = store_engine.create(f"sqlite:///{directory}/house.sqlite")
    schema.sync(engine)
    if not empty:
        scenery.nova_says(engine, NOW - scenery.MINUTE, {})
        scenery.keystone_and_placement_say(engine, NOW - scenery.MINUTE)
        scenery.fill(engine, NOW, hours=hours, hostile=hostile)
    made = app.service_of(conf, engine)._replace(now=lambda: NOW)
    application = app.assemble(conf, made, lambda inner: by_token(by_headers(inner)))
    house = House(engine)
    with simple_server.make_server(
        "127.0.0.1", 0, _at_home(house, application), _Server, _Quiet
    ) as listening:
        house.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, name="house")
        thread.start()
        try:
            yield house
        finally:
            listening.shutdown()
            thread.join()
            engine.dispose()


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class _Quiet(simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A browser gives connections up as it likes."""


def by_token(application: Wsgi) -> Wsgi:
    """Turn a token into what keystonemiddleware knows about it."""

    def identify(environ: dict[str, Any], start_response: Any) -> Any:
        for name, value in TOKENS.get(environ.get("HTTP_X_AUTH_TOKEN", ""), {}).items():
            environ[f"HTTP_{name}"] = value
        return application(environ, start_response)

    return identify


def _at_home(house: House, application: Wsgi) -> Wsgi:
    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            date = ("Date", email.utils.format_datetime(NOW, usegmt=True))
            return start_response(status, [*headers, date], *([exc_info] if exc_info else []))

        if house.before is not None:
            found = house.before(environ, begin)
            if found is not None:
                return found
        return application(environ, begin)

    return answer

# SPDX-License-Identifier: Apache-2.0
"""The whole application on SQLite, in this process, with callers that are named by headers.

Real tokens are tried with the real Keystone, in ``tests/service``. Here the headers that
keystonemiddleware makes of a token are given as they are, so that everything behind it runs.
"""

from __future__ import annotations

import datetime
import pathlib
from typing import Any

import sqlalchemy as sa

from nova_diskaudit.api import app, identity
from nova_diskaudit.api.call import Service
from nova_diskaudit.conf import service
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import schema
from nova_diskaudit.store.tables import instance, nova_map
from tests import reports

NOW = reports.NOW


def made(
    directory: pathlib.Path, *, nova: bool = True, **changes: Any
) -> tuple[Service, Any, sa.Engine]:
    """The service, its application, and its database, which is empty."""
    conf = service.unread()
    conf([], project=service.PROJECT, prog=service.PROGRAM, default_config_files=[])
    conf.set_override("auth_strategy", "keystone" if nova else "noauth", group="api")
    database = store_engine.create(f"sqlite:///{directory}/service.sqlite")
    schema.sync(database)
    made = app.service_of(conf, database)._replace(now=lambda: NOW, **changes)
    application = app.assemble(conf, made, by_headers if nova else identity.by_loopback)
    return made, application, database


def by_headers(application: Any) -> Any:
    """Believe headers as keystonemiddleware leaves them. X-Credential: the token's credential."""
    inner = identity.by_keystone(application)

    def identify(environ: dict[str, Any], start_response: Any) -> Any:
        if "HTTP_X_ROLES" in environ:
            environ["HTTP_X_IDENTITY_STATUS"] = "Confirmed"
        credential = environ.pop("HTTP_X_CREDENTIAL", None)
        if credential:
            token = {"application_credential": {"id": credential}}
            environ["keystone.token_info"] = {"token": token}
        return inner(environ, start_response)

    return identify


def nova_says(database: sa.Engine, uuid: str, **changes: Any) -> None:
    """One row of Nova's ledger."""
    plain: dict[str, Any] = {
        "uuid": uuid,
        "project_id": "red",
        "user_id": "rosa",
        "name": "web",
        "host": "compute-1",
        "status": "ACTIVE",
        "seen_at": 0,
        "moved_at": 0,
    }
    with database.begin() as connection:
        connection.execute(sa.delete(instance).where(instance.c.uuid == uuid))
        connection.execute(sa.insert(instance), plain | changes)


def nova_was_complete(database: sa.Engine, at: datetime.datetime) -> None:
    """The last pass over all of Nova began then."""
    from nova_diskaudit.store import moment

    with database.begin() as connection:
        connection.execute(sa.delete(nova_map))
        connection.execute(sa.insert(nova_map), {"id": 1, "complete_at": moment.of(at)})


def roll_up(database: sa.Engine) -> None:
    """A pass over all projects, now."""
    from nova_diskaudit.reconcile import rollup

    rollup.run(
        database,
        now=NOW,
        nova=True,
        stale_after_seconds=3600,
        project_history_days=90,
        instance_history_days=90,
    )

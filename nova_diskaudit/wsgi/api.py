# SPDX-License-Identifier: Apache-2.0
"""The central service for a WSGI server: ``module = nova_diskaudit.wsgi.api:application``.

Configured by ``/etc/nova-diskaudit/nova-diskaudit-api.conf``, or by the files that the environment
variable ``NOVA_DISKAUDIT_CONFIG_FILES`` names (with ``;`` between). The database has to be at the
step of this release (``nova-diskaudit-manage db sync``): it is never changed from here, where many
workers start at once.
"""

from __future__ import annotations

import os
from typing import Any

from nova_diskaudit.api import app
from nova_diskaudit.conf import service
from nova_diskaudit.store import engine, schema


def _application() -> Any:
    files = os.environ.get("NOVA_DISKAUDIT_CONFIG_FILES", "").split(";")
    conf = service.read([name for name in files if name])
    database = engine.create(conf.database.connection, **service.database(conf))
    schema.require_newest(database)
    return app.build(conf, app.service_of(conf, database))


application = _application()

# SPDX-License-Identifier: Apache-2.0
"""How a worker of a WSGI server begins: configuration, database, application.

The configuration is ``/etc/nova-diskaudit/nova-diskaudit-api.conf``, or the files that the
environment variable ``NOVA_DISKAUDIT_CONFIG_FILES`` names (with ``;`` between). The database has to
be at the step of this release (``nova-diskaudit-manage db sync``): it is never changed from here,
where many workers start at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from nova_diskaudit.api import app
from nova_diskaudit.api.call import Service
from nova_diskaudit.conf import service
from nova_diskaudit.store import engine, errors, schema

LOG = logging.getLogger(__name__)


def application(build: Callable[[cfg.ConfigOpts, Service], Any]) -> Any:
    """What ``build`` makes of the configuration."""
    files = os.environ.get("NOVA_DISKAUDIT_CONFIG_FILES", "").split(";")
    conf = service.read([name for name in files if name])
    database = engine.create(conf.database.connection, **service.database(conf))
    try:
        schema.require_newest(database)
    except errors.Unavailable as error:
        # A worker may be started while the database is away; without it, it answers 503.
        LOG.warning("The database is not available: %s", error)
    return build(conf, app.service_of(conf, database))

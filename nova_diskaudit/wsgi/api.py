# SPDX-License-Identifier: Apache-2.0
"""The central service for a WSGI server: ``module = nova_diskaudit.wsgi.api:application``."""

from __future__ import annotations

from nova_diskaudit.api import app
from nova_diskaudit.wsgi import start

application = start.application(app.build)

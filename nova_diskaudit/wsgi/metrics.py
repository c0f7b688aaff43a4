# SPDX-License-Identifier: Apache-2.0
"""``/metrics`` without tokens, for a listener on loopback:
``module = nova_diskaudit.wsgi.metrics:application``.
"""

from __future__ import annotations

from nova_diskaudit.api import app
from nova_diskaudit.wsgi import start

application = start.application(app.metrics_alone)

# SPDX-License-Identifier: Apache-2.0
"""Who may see the service's own numbers."""

from nova_diskaudit.api.policies import base

SHOW = "diskaudit:metrics:show"

RULES = [
    base.rule(
        SHOW, base.OPERATOR, "Read the metrics, which are about all projects.", "GET", "/metrics"
    ),
]

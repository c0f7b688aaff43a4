# SPDX-License-Identifier: Apache-2.0
"""``/healthcheck``: whether this worker and its database answer."""

from nova_diskaudit.api.call import Answer, Call
from nova_diskaudit.api.schemas.healthcheck import Health
from nova_diskaudit.store import schema


def shown(call: Call) -> Answer:
    """As long as it answers 200, requests may be sent here."""
    schema.answers(call.service.engine)
    return Answer(Health(status="ok"))

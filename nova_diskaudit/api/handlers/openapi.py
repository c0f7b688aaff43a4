# SPDX-License-Identifier: Apache-2.0
"""``/v1/openapi.json``."""

from nova_diskaudit.api.call import Answer, Call


def shown(call: Call) -> Answer:
    """The document, made of the table of routes."""
    return Answer(call.service.document)

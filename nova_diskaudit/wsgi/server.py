# SPDX-License-Identifier: Apache-2.0
"""The server of ``nova-diskaudit-api``: waitress, threads in one process.

What waitress itself refuses (a body that is too long, a head that is none) is told as the
application would.
"""

from __future__ import annotations

from typing import Any

import waitress
import waitress.channel
import waitress.server
import waitress.task

from nova_diskaudit import protocol
from nova_diskaudit.api import errors

NAME = "nova-diskaudit-api"

#: Above what a report may have, so that the application refuses what is a little too long; the
#: rest is refused by its length, before it is read.
_MAX_BODY_BYTES = protocol.MAX_REPORT_BYTES + 2**16


class _ErrorTask(waitress.task.ErrorTask):  # type: ignore[misc]  # it has no types
    def execute(self) -> None:
        refused = self.request.error
        code = refused.reason.lower().replace(" ", "-")
        error = errors.ApiError(refused.code, code, refused.reason, refused.body)
        data = errors.body(error, None)
        self.status = f"{refused.code} {refused.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(data)
        self.write(data)


class _Channel(waitress.channel.HTTPChannel):  # type: ignore[misc]
    error_task_class = _ErrorTask


def listen(application: Any, *, host: str, port: int, threads: int) -> Any:
    """A server that listens; it serves when its ``run`` is called, and until its ``close`` is.

    :raises OSError: when the address is not to be had.
    """
    sockets: dict[Any, Any] = {}
    server = waitress.create_server(
        application,
        map=sockets,
        host=host,
        port=port,
        threads=threads,
        ident=NAME,
        max_request_body_size=_MAX_BODY_BYTES,
        # http_proxy_to_wsgi looks at them, if the configuration says so.
        clear_untrusted_proxy_headers=False,
    )
    for one in sockets.values():
        if isinstance(one, waitress.server.BaseWSGIServer):
            one.channel_class = _Channel
    return server

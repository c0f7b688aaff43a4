# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that says what a test wants it to say: for answers that no real service gives."""

from __future__ import annotations

import json
import threading
import time
import wsgiref.simple_server
from collections.abc import Iterator
from typing import Any


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *words: Any) -> None:
        pass


class Canned:
    """``answers`` has what a path is answered, as JSON or as bytes; anything else is 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.status: dict[str, int] = {}
        #: what comes before that: status and answer, one after the other
        self.first: dict[str, list[tuple[int, Any]]] = {}
        #: method and path with its query, in order
        self.asked: list[str] = []
        #: seconds between two pieces of each answer
        self.pause = 0.0
        self._server = wsgiref.simple_server.make_server("127.0.0.1", 0, self, handler_class=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @classmethod
    def of_the_cloud(cls) -> Canned:
        """With what openstacksdk looks at first: which versions of Placement and Keystone."""
        server = cls()
        v1 = {"id": "v1.0", "status": "CURRENT", "min_version": "1.0", "max_version": "1.39"}
        v3 = {"id": "v3.14", "status": "stable"}
        server.answers["/"] = {"versions": [v1 | _links("")]}
        server.answers["/v3"] = {"version": v3 | _links(f"{server.url}/v3/")}
        return server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Canned:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Be away from now on."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        self.asked.append(f"{environ['REQUEST_METHOD']} {path}{'?' if query else ''}{query}")
        found = self.answers.get(path)
        status = self.status.get(path, 404 if found is None else 200)
        if self.first.get(path):
            status, found = self.first[path].pop(0)
        start_response(f"{status} X", [("Content-Type", "application/json")])
        data = found if isinstance(found, bytes) else json.dumps(found or {}).encode()
        for begin in range(0, len(data), 2**20):
            yield data[begin : begin + 2**20]
            time.sleep(self.pause)


def _links(to: str) -> dict[str, Any]:
    return {"links": [{"rel": "self", "href": to}]}

# SPDX-License-Identifier: Apache-2.0
"""As much of Nova as a name needs to become an id, over real HTTP."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any


class SmallNova(http.server.ThreadingHTTPServer):
    """``servers``: those of the caller's project by id; ``others``: of other projects."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.servers: dict[str, str] = {}
        self.others: dict[str, str] = {}
        #: the hosts of hypervisors, by their ids
        self.hypervisors: dict[str, str] = {}
        #: whether the caller may ask for all projects
        self.is_admin = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v2.1"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: SmallNova

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        place = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(place.query))
        status, answer = self._answer(place.path.removeprefix("/v2.1").rstrip("/"), query)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        if path == "":
            version = {"id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1"}
            version["links"] = [{"rel": "self", "href": self.server.url}]  # type: ignore[assignment]
            return 200, {"version": version}
        if path == "/servers":
            found = dict(self.server.servers)
            if query.get("all_tenants") or query.get("all_projects"):
                if not self.server.is_admin:
                    return 403, {"forbidden": {"message": "Policy doesn't allow it", "code": 403}}
                found |= self.server.others
            wanted = query.get("name")
            servers = [
                {"id": id, "name": name, "links": []}
                for id, name in found.items()
                if wanted is None or wanted in name
            ]
            return 200, {"servers": servers}
        noun, _, id = path.removeprefix("/").rpartition("/")
        if noun == "os-hypervisors" and id in self.server.hypervisors:
            service = {"host": self.server.hypervisors[id], "id": "1", "disabled_reason": None}
            return 200, {"hypervisor": {"id": id, "service": service}}
        return 404, {"itemNotFound": {"message": "not found", "code": 404}}


@contextlib.contextmanager
def serve() -> Iterator[SmallNova]:
    server = SmallNova()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

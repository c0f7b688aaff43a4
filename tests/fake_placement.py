# SPDX-License-Identifier: Apache-2.0
"""A small Placement over real HTTP: providers, what they promised, and how generations move.

As the real one (tests/service/test_placement.py): a promise moves the generation of its provider,
and so does a consumer that is emptied; one that is deleted or moved away does not.
"""

from __future__ import annotations

import json
import threading
import wsgiref.simple_server
from collections.abc import Callable
from typing import Any

from tests import reports


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *words: Any) -> None:
        pass


class FakePlacement:
    """Promises that a test changes, in GiB by provider and consumer."""

    def __init__(self) -> None:
        self.promised: dict[str, dict[str, int]] = {}
        self.generations: dict[str, int] = {}
        self.parents: dict[str, str] = {}
        #: method and path, in order
        self.asked: list[str] = []
        #: answers that come before any other: the end of a path, and the status
        self.faults: list[tuple[str, int]] = []
        #: run before an answer to a path that ends so
        self.before: dict[str, Callable[[], None]] = {}
        self._server = wsgiref.simple_server.make_server("127.0.0.1", 0, self, handler_class=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakePlacement:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # --- what Nova does -----------------------------------------------------------------------

    def node(self, name: str, *, below: str | None = None) -> str:
        """A compute node, or what is below one; its UUID."""
        uuid = reports.uuid_of("provider", name)
        self.promised[name] = {}
        self.generations[name] = 1
        if below is not None:
            self.parents[name] = reports.uuid_of("provider", below)
        return uuid

    def claim(self, consumer: str, **gb: int) -> None:
        """Promise it so much, and of no other provider any more."""
        for name, promised in self.promised.items():
            promised.pop(consumer, None)
            if name in gb:
                promised[consumer] = gb[name]
                self.generations[name] += 1

    def release(self, consumer: str) -> None:
        """Delete the consumer, which leaves no trace."""
        for promised in self.promised.values():
            promised.pop(consumer, None)

    # --- what it answers ------------------------------------------------------------------------

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        headers = [("Content-Type", "application/json")]
        if path == "/":
            v1 = {"id": "v1.0", "status": "CURRENT", "min_version": "1.0", "max_version": "1.39"}
            version = {**v1, "links": [{"rel": "self", "href": ""}]}
            start_response("200 OK", headers)
            return [json.dumps({"versions": [version]}).encode()]
        self.asked.append(f"{method} {path}")
        if path in self.before:
            self.before[path]()
        if self.faults and path.endswith(self.faults[0][0]):
            start_response(f"{self.faults.pop(0)[1]} X", headers)
            return [b"{}"]
        found = self._answer(path) if method == "GET" else None
        start_response("404 X" if found is None else "200 OK", headers)
        return [json.dumps(found or {}).encode()]

    def _answer(self, path: str) -> Any:
        uuids = {name: reports.uuid_of("provider", name) for name in self.promised}
        if path == "/resource_providers":
            return {
                "resource_providers": [
                    {
                        "uuid": uuid,
                        "name": name,
                        "generation": self.generations[name],
                        "root_provider_uuid": self.parents.get(name, uuid),
                        "parent_provider_uuid": self.parents.get(name),
                    }
                    for name, uuid in uuids.items()
                ]
            }
        for name, uuid in uuids.items():
            if path == f"/resource_providers/{uuid}/allocations":
                return {
                    "resource_provider_generation": self.generations[name],
                    "allocations": {
                        consumer: {"resources": {"VCPU": 1, **({"DISK_GB": gb} if gb else {})}}
                        for consumer, gb in self.promised[name].items()
                    },
                }
        return None

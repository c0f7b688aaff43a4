# SPDX-License-Identifier: Apache-2.0
"""A stub in Neutron's place: it has no network, no port, no extension, and makes none.

Nova asks for the ports of every server that it shows, and fails without an answer. Servers here
have no network (``networks: none``), so an empty list is the truth. Whoever looks for more than
that has to run a Neutron.
"""

from __future__ import annotations

import json
import sys
import urllib.parse
import wsgiref.simple_server
from collections.abc import Iterable
from typing import Any, ClassVar

from tests.services import daemon


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """``GET /v2.0/<nouns>``: ``{"<nouns>": []}``; 404 for everything else but the versions."""
    words = environ["PATH_INFO"].strip("/").split("/")
    status, answer = "404 Not Found", {}
    if environ["REQUEST_METHOD"] == "GET":
        if words == [""]:
            link = {"rel": "self", "href": f"http://{environ['HTTP_HOST']}/v2.0/"}
            status = "200 OK"
            answer = {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}
        elif words == ["v2.0"]:
            status, answer = "200 OK", {"resources": []}
        elif words[0] == "v2.0" and len(words) == 2:
            status, answer = "200 OK", {urllib.parse.unquote(words[1]).replace("-", "_"): []}
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]


class NeutronStub(daemon.Daemon):
    """The stub as a process."""

    NAME: ClassVar[str] = "neutron-stub"
    # The interpreter may live in root's home, where nobody else can read.
    OWNER: ClassVar[tuple[int, int]] = (0, 0)

    @property
    def url(self) -> str:
        """As it stands in the catalog."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, __file__, str(self.port)]

    def environ(self) -> dict[str, str]:
        return {"PYTHONPATH": ":".join(path for path in sys.path if path)}


def main() -> None:
    """Serve at the port of the command line."""
    with wsgiref.simple_server.make_server("127.0.0.1", int(sys.argv[1]), application) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()

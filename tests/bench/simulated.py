# SPDX-License-Identifier: Apache-2.0
"""A Nova and a Placement of many hosts over HTTP, in a process of their own: for benchmarks.

    python -m tests.bench.simulated PORT HOSTS

They answer what the periodic work asks, in pages and with the sizes of real answers; what a host's
instances are is told by :mod:`tests.bench.cloud`. A file named by the third argument holds, one a
line, numbers of hosts whose instances and allocations changed just now.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import pathlib
import sys
import urllib.parse
import wsgiref.simple_server
from typing import Any

from tests import reports
from tests.bench import cloud
from tests.canned import _Quiet

#: What each instance is claimed: the two disks of tests.reports.
CLAIMED_GIB = 40


class Simulated:
    """Both services; Placement's paths and Nova's do not meet."""

    def __init__(self, url: str, hosts: int, changed: pathlib.Path) -> None:
        self._url, self._hosts, self._changed = url, hosts, changed
        host_of = {uuid: host for host in range(hosts) for uuid in cloud.uuids(host)}
        self._order = sorted(host_of)
        self._place = {uuid: at for at, uuid in enumerate(self._order)}
        self._host_of = host_of

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        query = dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", "")))
        headers = [
            ("Content-Type", "application/json"),
            ("Date", email.utils.format_datetime(self._now(), usegmt=True)),
        ]
        start_response("200 OK", headers)
        return [json.dumps(self._answer(path, query)).encode()]

    def _now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)

    def _moved(self) -> set[int]:
        return set(map(int, self._changed.read_text().split()))

    def _answer(self, path: str, query: dict[str, str]) -> Any:
        if path == "/v2.1/servers/detail":
            return self._servers(query)
        if path == "/v2.1/os-migrations":
            return {"migrations": []}
        if path == "/v2.1/os-services":
            return {"services": [self._service(host) for host in range(self._hosts)]}
        if path == "/resource_providers":
            moved = self._moved()
            return {"resource_providers": [self._provider(n, moved) for n in range(self._hosts)]}
        if path.endswith("/allocations"):
            return self._allocations(path.split("/")[2])
        if path.startswith("/v2.1"):
            versions = {"version": "2.96", "min_version": "2.1"}
            links = [{"rel": "self", "href": f"{self._url}/v2.1"}]
            return {"version": {"id": "v2.1", "status": "CURRENT", "links": links, **versions}}
        links = [{"rel": "self", "href": ""}]
        versions = {"min_version": "1.0", "max_version": "1.39"}
        return {"versions": [{"id": "v1.0", "status": "CURRENT", "links": links, **versions}]}

    def _servers(self, query: dict[str, str]) -> Any:
        order = self._order
        if "changes-since" in query:
            order = sorted(uuid for host in self._moved() for uuid in cloud.uuids(host))
        if "marker" not in query:
            begin = 0
        elif order is self._order:
            begin = self._place[query["marker"]] + 1
        else:
            begin = order.index(query["marker"]) + 1
        end = begin + int(query["limit"])
        more = [{"rel": "next", "href": "more"}] if end < len(order) else []
        return {
            "servers": [self._server(uuid) for uuid in order[begin:end]],
            "servers_links": more,
        }

    def _server(self, uuid: str) -> Any:
        return {
            "id": uuid,
            "name": f"server-{uuid[:8]}",
            "status": "ACTIVE",
            "tenant_id": f"project-{self._place[uuid] % 100}",
            "user_id": "0e6e1a3f4a5b4c8d9e0f1a2b3c4d5e6f",
            "OS-EXT-SRV-ATTR:host": cloud.name(self._host_of[uuid]),
            "OS-EXT-STS:task_state": None,
            "flavor": {"disk": 20, "ephemeral": 20, "swap": 0, "vcpus": 2, "ram": 4096},
            "addresses": {},
            "metadata": {},
        }

    def _service(self, host: int) -> Any:
        seen = self._now().replace(tzinfo=None).isoformat(timespec="microseconds")
        return {
            "binary": "nova-compute",
            "host": cloud.name(host),
            "status": "enabled",
            "state": "up",
            "updated_at": seen,
        }

    def _provider(self, host: int, moved: set[int]) -> Any:
        uuid = reports.uuid_of("provider", host)
        return {
            "uuid": uuid,
            "name": cloud.name(host),
            "generation": 2 if host in moved else 1,
            "root_provider_uuid": uuid,
            "parent_provider_uuid": None,
        }

    def _allocations(self, uuid: str) -> Any:
        host = self._of_provider[uuid]
        return {
            "resource_provider_generation": 2 if host in self._moved() else 1,
            "allocations": {
                one: {"resources": {"DISK_GB": CLAIMED_GIB, "VCPU": 2, "MEMORY_MB": 4096}}
                for one in cloud.uuids(host)
            },
        }

    @property
    def _of_provider(self) -> dict[str, int]:
        if not hasattr(self, "_providers"):
            self._providers = {
                reports.uuid_of("provider", host): host for host in range(self._hosts)
            }
        return self._providers


def main() -> None:
    """Answer until killed."""
    port, hosts, changed = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
    simulated = Simulated(f"http://127.0.0.1:{port}", hosts, changed)
    wsgiref.simple_server.make_server(
        "127.0.0.1", port, simulated, handler_class=_Quiet
    ).serve_forever()


if __name__ == "__main__":
    main()

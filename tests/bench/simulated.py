# SPDX-License-Identifier: Apache-2.0
"""A Nova and a Placement of a large cloud over HTTP, as far as the reconciliation asks them.

    python -m tests.bench.simulated --hosts 2000

It answers with pages of 1000 servers, in the size that the real Nova has, and prints its port. What
is no GET is refused, and would end the benchmark.
"""

from __future__ import annotations

import argparse
import email.utils
import http.server
import json
import urllib.parse
from typing import Any

from tests import reports
from tests.bench import cloud

PAGE = 1000
#: Of so many instances one is claimed wrongly; one has no domain; one domain is not in Nova.
WRONG, WITHOUT, STRANGE = 100, 500, 500
ROOT_GB, EPHEMERAL_GB = 20, 20


def is_strange(host: int, number: int) -> bool:
    """Whether Nova does not know the domain."""
    return (host * cloud.INSTANCES + number) % STRANGE == 7


def claimed_gb(host: int, number: int) -> int:
    """What Placement was promised: 40 GiB, but for some."""
    wrong = (host * cloud.INSTANCES + number) % WRONG == 3
    return ROOT_GB + EPHEMERAL_GB + (5 if wrong else 0)


def missing(host: int) -> str | None:
    """An instance that Nova has on a host which has no domain of it."""
    if host % (WITHOUT // cloud.INSTANCES):
        return None
    return reports.uuid_of(host, "missing")


class Cloud:
    """All answers."""

    def __init__(self, hosts: int) -> None:
        self.hosts = hosts
        self.listed = sorted(
            [
                (uuid, host)
                for host in range(hosts)
                for number, uuid in enumerate(cloud.uuids(host))
                if not is_strange(host, number)
            ]
            + [(uuid, host) for host in range(hosts) if (uuid := missing(host)) is not None]
        )
        self._at = {uuid: place for place, (uuid, _) in enumerate(self.listed)}
        self._providers = {reports.uuid_of("provider", host): host for host in range(hosts)}

    def answer(self, path: str, query: dict[str, str]) -> Any:
        if path == "/":
            return {"versions": [_version("v1.0", "1.0", "1.39", "")]}
        if path == "/v2.1":
            return {"version": _version("v2.1", "2.1", "2.96", "/v2.1/")}
        if path == "/v2.1/os-services":
            return {
                "services": [
                    {"host": cloud.name(host), "status": "enabled", "binary": "nova-compute"}
                    for host in range(self.hosts)
                ]
            }
        if path == "/v2.1/os-migrations":
            return {"migrations": []}
        if path == "/v2.1/servers/detail":
            return self._servers(query)
        if path == "/resource_providers":
            return {
                "resource_providers": [
                    {
                        "uuid": uuid,
                        "name": cloud.name(host),
                        "generation": 7,
                        "root_provider_uuid": uuid,
                        "parent_provider_uuid": None,
                        "links": [{"rel": "self", "href": f"/resource_providers/{uuid}"}] * 5,
                    }
                    for uuid, host in self._providers.items()
                ]
            }
        return self._allocations(self._providers[path.split("/")[2]])

    def _servers(self, query: dict[str, str]) -> Any:
        if "changes-since" in query:
            return {"servers": []}
        begin = self._at[query["marker"]] + 1 if "marker" in query else 0
        page = self.listed[begin : begin + min(PAGE, int(query["limit"]))]
        answer: dict[str, Any] = {"servers": [_server(uuid, host) for uuid, host in page]}
        if begin + len(page) < len(self.listed):
            answer["servers_links"] = [{"rel": "next", "href": "x"}]
        return answer

    def _allocations(self, host: int) -> Any:
        claims = {
            uuid: claimed_gb(host, number)
            for number, uuid in enumerate(cloud.uuids(host))
            if not is_strange(host, number)
        }
        without = missing(host)
        if without is not None:
            claims[without] = ROOT_GB + EPHEMERAL_GB
        return {
            "resource_provider_generation": 7,
            "allocations": {
                uuid: {"resources": {"VCPU": 2, "MEMORY_MB": 4096, "DISK_GB": gb}}
                for uuid, gb in claims.items()
            },
        }


def _version(id: str, first: str, last: str, href: str) -> dict[str, Any]:
    return {
        "id": id,
        "status": "CURRENT",
        "min_version": first,
        "version": last,
        "max_version": last,
        "links": [{"rel": "self", "href": href}],
    }


def _server(uuid: str, host: int) -> dict[str, Any]:
    return {
        "id": uuid,
        "name": f"server-{uuid[:8]}",
        "status": "ACTIVE",
        "tenant_id": f"project-{host % 40}",
        "user_id": "rosa",
        "OS-EXT-SRV-ATTR:host": cloud.name(host),
        "OS-EXT-STS:task_state": None,
        "flavor": {
            "disk": ROOT_GB,
            "ephemeral": EPHEMERAL_GB,
            "swap": 0,
            "vcpus": 2,
            "ram": 4096,
            "original_name": "m1.small",
            "extra_specs": {"hw:cpu_policy": "shared"},
        },
        # What a real answer has besides, in its length.
        "addresses": {"net": [{"addr": "192.0.2.17", "version": 4, "type": "fixed"}] * 2},
        "links": [{"rel": "self", "href": f"http://nova.example.org/v2.1/servers/{uuid}"}] * 2,
        "metadata": {"role": "web", "owner": "somebody"},
        "image": {"id": uuid, "links": []},
        "security_groups": [{"name": "default"}],
        "OS-EXT-SRV-ATTR:user_data": "x" * 400,
    }


def _handler(of: Cloud) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one piece, or each answer waits 40 ms for the other side's word.
        wbufsize = -1

        def do_GET(self) -> None:
            where = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(where.query))
            data = json.dumps(of.answer(where.path.rstrip("/") or "/", query)).encode()
            self.send_response_only(200)
            self.send_header("Date", email.utils.formatdate(usegmt=True))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        def log_message(self, format: str, *words: Any) -> None:
            pass

    return Handler


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hosts", type=int, required=True)
    arguments = parser.parse_args()
    handler = _handler(Cloud(arguments.hosts))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What goes wrong is said in one line, with exit status 1 and without a traceback."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator

import pytest

from tests.service.commands import shell
from tests.service.commands.scene import Scene, environ
from tests.service.commands.shell import Done
from tests.services.daemon import free_port


def said(done: Done) -> str:
    """The one line on stderr."""
    assert done.status == 1 and done.out == ""
    assert "Traceback" not in done.err and "\x1b" not in done.err
    [line] = done.err.splitlines()
    return line


@contextlib.contextmanager
def answering(status: int, body: bytes, content_type: str = "application/json") -> Iterator[str]:
    """A service that answers everything so; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def none(url: str) -> tuple[str, ...]:
    return ("--os-auth-type", "none", "--os-endpoint", url)


# --- refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "audit host list",
            "You may not see this (403): the policy diskaudit:host:list does not allow it",
        ),
        ("audit host show compute-1", "You may not see this (403): the policy "),
        ("usage list --host compute-1", "You may not see this (403): only operators may ask "),
        ("usage show --server {hostile}", "Not found (404): no such instance, or none that you "),
        ("usage list --finding X", "Refused (400): the query is not valid"),
    ],
)
def test_what_a_reader_may_not(scene: Scene, words: str, line: str) -> None:
    words = words.format(**scene.servers)
    assert said(shell.openstack("disk", *words.split(), env=environ(scene.rosa))).startswith(line)


def test_a_host_that_never_reported(scene: Scene) -> None:
    done = shell.openstack("disk", "audit", "host", "show", "compute-7", env=environ(scene.admin))
    assert said(done) == "Not found (404): no such host has reported"


# --- away, or something else ------------------------------------------------------------------


def test_a_cloud_without_the_service(scene: Scene) -> None:
    env = environ(scene.rosa, OS_REGION_NAME="RegionTwo")
    line = said(shell.openstack("disk", "usage", "show", env=env))
    assert "no service disk-audit" in line and "RegionTwo" in line
    # Everything else of the client works there as before.
    assert shell.openstack("token", "issue", env=env).status == 0
    assert shell.openstack("help", "disk", "usage", "show", env=env).status == 0


def test_a_service_that_is_away(scene: Scene) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    env = environ(scene.rosa, OS_DISK_AUDIT_ENDPOINT_OVERRIDE=url)
    for done in (
        shell.openstack("disk", "usage", "show", env=env),
        shell.openstack(*none(url), "disk", "audit", "host", "list"),
    ):
        line = said(done)
        assert line.startswith(f"Unable to establish connection to {url}/v1/")
        assert line.endswith("[Errno 111] Connection refused") and "Pool" not in line


def test_a_keystone_that_is_away(scene: Scene) -> None:
    env = environ(scene.rosa, OS_AUTH_URL=f"http://127.0.0.1:{free_port()}/v3")
    done = shell.openstack("disk", "usage", "show", env=env)
    assert done.status == 1 and "Traceback" not in done.err
    assert "Unable to establish connection" in done.err.splitlines()[-1]


def test_a_wrong_password(scene: Scene) -> None:
    done = shell.openstack("disk", "usage", "show", env=environ(scene.rosa, OS_PASSWORD="wrong"))
    assert "requires authentication" in said(done)


def test_nobody() -> None:
    assert "auth-url" in said(shell.openstack("disk", "usage", "show"))
    done = shell.openstack("--os-auth-type", "none", "disk", "usage", "show")
    assert "no service disk-audit" in said(done)


HOSTILE = b'{"errors": [{"status": 503, "detail": "\\u001b]0;x\\u0007 the\\n database is away."}]}'


@pytest.mark.parametrize(
    ("status", "body", "content_type", "line"),
    [
        (
            503,
            HOSTILE,
            "application/json",
            "The disk-audit service cannot answer now (503): \\x1b]0;x\\x07 the database is away. "
            "Try again later",
        ),
        (
            502,
            b"<html><h1>Bad Gateway</h1></html>",
            "text/html",
            "The disk-audit service cannot answer now (502): Bad Gateway. Try again later",
        ),
        (401, b"{}", "application/json", "Keystone's token is not accepted (401): Unauthorized"),
        (404, b"[]", "application/json", "Not found (404): Not Found"),
        (400, b'{"errors": [' + b"9" * 10**6, "application/json", "Refused (400): Bad Request"),
        (200, b"<html>", "text/html", "What answers there is no disk-audit service"),
        (200, b"[1]", "application/json", "What answers there is no disk-audit service"),
        (200, b'{"usages": 7}', "application/json", "What answers there is no disk-audit service"),
    ],
)
def test_strange_answers(status: int, body: bytes, content_type: str, line: str) -> None:
    with answering(status, body, content_type) as url:
        done = shell.openstack(*none(url), "disk", "usage", "show", "--project", "p")
    shown = said(done)
    assert shown.startswith(line) and len(shown) < 600

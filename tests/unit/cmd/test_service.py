# SPDX-License-Identifier: Apache-2.0
"""The commands of the central service, as an operator runs them."""

from __future__ import annotations

import http.client
import json
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from nova_diskaudit.cmd import manage
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import report, schema, task
from tests import reports
from tests.services.daemon import free_port

BIN = pathlib.Path(sys.executable).parent


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    made = tmp_path / "nova-diskaudit-api.conf"
    made.write_text(
        f"[database]\nconnection = sqlite:///{tmp_path}/store.sqlite\n"
        "[api]\nauth_strategy = noauth\n"
    )
    return made


class Manage:
    """``nova-diskaudit-manage`` with a configuration file."""

    def __init__(self, file: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._file, self._capsys = file, capsys

    def __call__(self, *words: str) -> tuple[int, str]:
        """Exit status, and what it says."""
        status = manage.main(["--config-file", str(self._file), *words])
        said = self._capsys.readouterr()
        return status, said.out + said.err


@pytest.fixture
def run(file: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Manage:
    return Manage(file, capsys)


def test_tables(run: Manage) -> None:
    assert run("db", "version") == (0, "none\n")
    status, said = run("db", "check")
    assert status == 1 and "db sync" in said
    assert run("db", "sync") == (0, f"the tables are at {schema.newest()}\n")
    assert run("db", "version") == (0, f"{schema.newest()}\n")
    assert run("db", "check") == (0, "")


def test_who_may_report(run: Manage) -> None:
    run("db", "sync")
    assert run("host", "enroll", "compute-1", "cred")[0] == 0
    status, said = run("host", "enroll", "compute-2", "cred")
    assert status == 2 and said.count("\n") == 1 and "compute-1" in said
    status, said = run("host", "list")
    assert status == 0 and said.startswith("compute-1\tcred\t20")
    assert run("host", "list", "compute-2") == (0, "")
    assert run("host", "revoke", "compute-1") == (0, "1 revoked\n")
    assert run("host", "revoke", "compute-1") == (1, "0 revoked\n")


def test_purging_and_demands(run: Manage, tmp_path: pathlib.Path) -> None:
    run("db", "sync")
    engine = store_engine.create(f"sqlite:///{tmp_path}/store.sqlite")
    report.put(engine, reports.full(reports.state()), now=reports.NOW, takeover_after_seconds=900)
    engine.dispose()
    assert run("host", "demand-full") == (0, "1 hosts will send a full report\n")
    assert run("host", "demand-full", "nowhere")[0] == 1
    assert run("purge", "--older-than", "30") == (0, "1 hosts and 0 instances removed\n")


@pytest.mark.parametrize("days", ["0.5", "x", "-3", "nan", "inf", "99999999"])
def test_purging_needs_a_time(run: Manage, days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        run("purge", "--older-than", days)
    assert leaving.value.code == 2
    assert "number of days" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "[database]\nconnection = nonsense\n",
        "[database]\nconnection = sqlite:////proc/x/y\n",
        "[database]\nconnection = postgresql+psycopg://127.0.0.1:1/x\n",
        "[database]\nconnection = mysql+pymysql://127.0.0.1:1/x\n",
        "[api]\ntakeover_after = soon\n",
        "no file of options",
    ],
)
def test_what_cannot_be_done_is_one_line(
    text: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.conf"
    file.write_text(text)
    assert manage.main(["--config-file", str(file), "db", "version"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("nova-diskaudit-manage: ") and said.err.count("\n") == 1


@pytest.mark.parametrize(
    "synced, more, status, says",
    [
        (True, "", 0, "Success"),
        (False, "", 1, "db sync"),
        (
            True,
            "[api]\nauth_strategy = keystone\n[keystone_authtoken]\ntoken_cache_time = 60\n",
            1,
            "900",
        ),
        (True, "[database]\nconnection = postgresql+psycopg://127.0.0.1:1/x\n", 2, "Failure"),
    ],
)
def test_upgrade_check(
    file: pathlib.Path, run: Manage, synced: bool, more: str, status: int, says: str
) -> None:
    if synced:
        run("db", "sync")
    if more:
        file.write_text(file.read_text() + more)
    done = subprocess.run(
        [BIN / "nova-diskaudit-status", "--config-file", file, "upgrade", "check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert says in done.stdout


# --- nova-diskaudit-api -------------------------------------------------------------------------


def ask(port: int, path: str) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    found: dict[str, object] = json.loads(answer.read())
    connection.close()
    return answer.status, found


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def api(tmp_path: pathlib.Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """As it starts at once: no file, no cloud, a database that it makes."""
    process = subprocess.Popen(
        [
            BIN / "nova-diskaudit-api",
            f"--port={port}",
            f"--database=sqlite:///{tmp_path}/made/api.sqlite",
        ],
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            ask(port, "/")
            break
        except OSError:
            assert process.poll() is None, process.stderr
            time.sleep(0.1)
    yield process
    process.kill()
    process.communicate()


def test_it_starts_at_once_on_one_machine(
    api: subprocess.Popen[bytes], port: int, tmp_path: pathlib.Path
) -> None:
    assert ask(port, "/healthcheck") == (200, {"status": "ok"})
    assert ask(port, "/v1/instances") == (200, {"instances": [], "instances_links": []})
    engine = store_engine.create(f"sqlite:///{tmp_path}/made/api.sqlite")
    until = time.monotonic() + 60
    while task.state(engine, "roll-up").succeeded_at is None:
        assert time.monotonic() < until, "periodic work needs no other process"
        time.sleep(0.05)
    engine.dispose()
    api.send_signal(signal.SIGTERM)
    assert api.wait(30) == 0


@pytest.mark.parametrize(
    "words, says",
    [
        (["--host=0.0.0.0"], "loopback"),
        (["--host=::"], "loopback"),
        (["--host=localhost.example.org"], "loopback"),
        (["--database=oracle://x"], "[database]"),
        (["--config-file=/nonexistent"], "/nonexistent"),
    ],
)
def test_what_it_does_not_start_with(words: list[str], says: str, tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [BIN / "nova-diskaudit-api", f"--database=sqlite:///{tmp_path}/x.sqlite", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert says in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_port_that_is_taken(
    api: subprocess.Popen[bytes], port: int, tmp_path: pathlib.Path
) -> None:
    done = subprocess.run(
        [
            BIN / "nova-diskaudit-api",
            f"--port={port}",
            f"--database=sqlite:///{tmp_path}/other.sqlite",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and "in use" in done.stderr


def test_another_database_than_sqlite_is_not_made_by_the_way(tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [
            BIN / "nova-diskaudit-api",
            f"--port={free_port()}",
            "--database=postgresql+psycopg://127.0.0.1:1/x",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1

# SPDX-License-Identifier: Apache-2.0
"""The agent's outputs as clients meet them: whole answers, bounded clients, clear errors."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import pathlib
import socket
import stat
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from nova_diskaudit import health as words
from nova_diskaudit import notify
from nova_diskaudit.agent import exporter, local, reader, serving, textfile
from nova_diskaudit.cmd import main as program
from nova_diskaudit.conf import ConfigurationError
from nova_diskaudit.render import agent_metrics, as_json
from tests.unit.render import sample

NOW = sample.AS_OF + datetime.timedelta(seconds=200)
LONG = 60.0


def status(**more: object) -> words.AgentStatus:
    some = words.AgentStatus(
        version="1.0",
        host="compute-1",
        pid=1,
        started_at=sample.AS_OF,
        interval_seconds=300,
        cycle=words.CycleStatus(number=3, started_at=sample.AS_OF, seconds=1.5, domains=4, full=4),
        lanes=(
            words.LaneStatus(
                kind="guest", children=1, parked=2, restarts=3, oldest_answer_seconds=None
            ),
        ),
        tokens=(words.TokenStatus(kind="stats", limit=1, active=0, parked=("a",), orphaned=()),),
        quarantine=(
            words.Quarantined(
                uuid="u",
                domain=sample.HOSTILE,
                part="guest",
                code="agent-timeout",
                since=sample.AS_OF,
                failures=2,
                next_try=NOW,
            ),
        ),
        events=words.EventStatus(connected=True, received=5, lost=0, connections=1),
        spool=words.SpoolStatus(
            depth=0, bytes=0, oldest_as_of=None, dropped=0, thinned=0, rejected=0, in_memory=False
        ),
        publisher=words.PublisherStatus(enabled=False),
        drops=0,
    )
    return msgspec.structs.replace(some, **more)


@pytest.fixture
def served() -> Iterator[exporter.Exporter]:
    some = exporter.Exporter("127.0.0.1:0", lambda: "x" * 3_000_000)
    some.start()
    yield some
    some.close()


def ask(some: exporter.Exporter, request: bytes) -> tuple[bytes, bytes]:
    assert some.address
    with socket.create_connection(some.address, timeout=LONG) as client:
        client.sendall(request)
        data = b"".join(iter(lambda: client.recv(2**16), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    return head.splitlines()[0], body


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"GET /metrics HTTP/1.1", b"200"),
        (b"GET /metrics?x=1 HTTP/1.0", b"200"),
        (b"GET /x HTTP/1.1", b"404"),
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"\xff\x00", b"400"),
        (b"GET /" + b"a" * 20_000, b"431"),
    ],
)
def test_http(served: exporter.Exporter, request_line: bytes, answer: bytes) -> None:
    line, body = ask(served, request_line + b"\r\nHost: x\r\n\r\n")
    assert line.split()[1] == answer
    assert answer != b"200" or len(body) == 3_000_000


def test_slow_clients_are_left_and_the_next_one_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporter, "_CLIENT_SECONDS", 0.3)
    some = exporter.Exporter("127.0.0.1:0", lambda: "well")
    some.start()
    assert some.address
    with contextlib.ExitStack() as stack:
        for _ in range(exporter._MOST_CLIENTS):
            slow = stack.enter_context(socket.create_connection(some.address))
            slow.sendall(b"GET ")
        assert ask(some, b"GET /metrics HTTP/1.1\r\n\r\n")[1] == b"well"
    some.close()


def test_an_address_that_is_taken_is_no_end(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        some = exporter.Exporter(f"127.0.0.1:{other.getsockname()[1]}", lambda: "")
        some.start()
        assert some.address is None and "cannot listen" in caplog.text
        some.close()


@pytest.mark.parametrize("text", ["9752", ":9752", "::1:9752", "[::1]", "a:70000", "a b:1", "x:-1"])
def test_no_address(text: str) -> None:
    with pytest.raises(ConfigurationError):
        exporter.parse_listen(text)


@given(st.text())
def test_an_address_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        place = exporter.parse_listen(text)
        assert place is None or 0 <= place[1] <= 65535


def test_ipv6_and_off() -> None:
    assert exporter.parse_listen("[::1]:9752") == ("::1", 9752)
    assert exporter.parse_listen("") is None


@pytest.fixture
def agent(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    path = tmp_path / reader.SOCKET_NAME
    some = local.LocalSocket(path, lambda: local.document(sample.report(), status()))
    some.start()
    yield path
    some.close()
    assert not path.exists()


def test_the_socket_says_one_json(agent: pathlib.Path) -> None:
    assert stat.S_IMODE(agent.stat().st_mode) == 0o660
    assert reader.read(agent).report == sample.report()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(agent))
        said = json.loads(b"".join(iter(lambda: client.recv(2**16), b"")))
    assert said["report"] == json.loads(as_json.render(sample.report()))


def test_a_second_agent_is_refused_and_a_stale_file_replaced(agent: pathlib.Path) -> None:
    with pytest.raises(ConfigurationError, match="another agent"):
        local.LocalSocket(agent, lambda: b"").start()
    stale = agent.with_name("stale.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    some = local.LocalSocket(stale, lambda: local.document(None, status()))
    some.start()
    assert reader.read(stale).report is None
    some.close()


def test_sockets_that_cannot_be(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigurationError, match="107 bytes"):
        local.LocalSocket(tmp_path / ("x" * 120), lambda: b"").start()
    with pytest.raises(ConfigurationError, match="no group"):
        local.LocalSocket(tmp_path / "s", lambda: b"", group="no-such-group").start()
    for path in (tmp_path / "none", tmp_path / ("x" * 120)):
        with pytest.raises(reader.AgentUnreachable):
            reader.read(path)


def test_an_agent_that_is_silent_or_says_too_much(agent: pathlib.Path) -> None:
    with pytest.raises(reader.AgentUnreachable, match="more than 10 bytes"):
        reader.read(agent, most_bytes=10)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(agent) + "2")
        mute.listen()
        with pytest.raises(reader.AgentUnreachable, match="did not answer"):
            reader.read(pathlib.Path(str(agent) + "2"), seconds=0.1)


def test_audit_from_agent(agent: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = agent.with_name("a.conf")
    config.write_text(f"[agent]\nstate_path = {agent.parent}\n")
    line = ["audit", "--from-agent", "--config-file", str(config)]
    assert program.main([*line, "--instance", sample.seed().uuid, "--format", "json"]) == 0
    assert [one["uuid"] for one in json.loads(capsys.readouterr().out)["instances"]] == [
        sample.seed().uuid
    ]
    assert program.main(line) == 1
    table = capsys.readouterr().out
    assert "of cycle 3" in table and "left alone: evil\\x1b" in table and "\x1b" not in table
    assert program.main([*line, "--instance", "nobody"]) == 2
    assert program.main([*line, "--no-guest"]) == 2


def test_metrics_of_the_agent_do_not_grow_with_its_domains() -> None:
    one = agent_metrics.render(status(), sample.report(), NOW)
    many = agent_metrics.render(status(quarantine=status().quarantine * 500), sample.report(), NOW)
    assert len(one.splitlines()) == len(many.splitlines())
    families = {family.name: family for family in text_string_to_metric_families(many)}
    values = {
        s.labels["part"]: s.value for s in families["nova_diskaudit_agent_quarantined"].samples
    }
    assert values == {"describe": 0, "evidence": 0, "guest": 500}
    assert families["nova_diskaudit_agent_drops"].type == "counter"
    assert "nova_diskaudit_agent_lane_answer_age_seconds" not in families


def test_textfile(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    some = textfile.Textfile(str(tmp_path / "d" / "a.prom"))
    assert not some.write("x") and not some.write("x")
    assert len(caplog.records) == 1
    (tmp_path / "d").mkdir()
    assert some.write("new")
    (path,) = (tmp_path / "d").iterdir()
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o644
    with pytest.raises(ConfigurationError):
        textfile.Textfile("a.txt")


@pytest.mark.parametrize("name", ["/{}/n", "@nova-diskaudit-test-{}"])
def test_notify(name: str, tmp_path: pathlib.Path) -> None:
    where = name.format(str(tmp_path)[1:] if name[0] == "/" else os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(where.replace("@", "\0", 1) if where[0] == "@" else where)
        manager.settimeout(LONG)
        notify.notifier({"NOTIFY_SOCKET": where})("READY=1")
        assert manager.recv(100) == b"READY=1"
    notify.notifier({"NOTIFY_SOCKET": where})("nobody listens")
    notify.notifier({})("nobody at all")


def test_watchdog() -> None:
    assert notify.watchdog_seconds({"WATCHDOG_USEC": "20000000"}) == 10
    assert notify.watchdog_seconds({"WATCHDOG_USEC": "2", "WATCHDOG_PID": "1"}) is None
    assert notify.watchdog_seconds({"WATCHDOG_USEC": "x"}) is None


def test_no_time_left() -> None:
    with pytest.raises(TimeoutError):
        serving.remaining(0.0)


def test_the_doctor_has_no_traceback(
    agent: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = agent.with_name("a.conf")
    config.write_text(
        "[hypervisor]\nconnection_uri = xen:///\n[agent]\nstate_path = "
        f"{agent.parent}\n[exporter]\nlisten = nonsense\ntextfile = a.txt\n"
    )
    assert program.main(["doctor", "--json", "--config-file", str(config)]) == 1
    found = {one["name"]: one["outcome"] for one in json.loads(capsys.readouterr().out)["checks"]}
    assert found["libvirt"] == found["exporter"] == found["text file"] == "error"
    assert found["agent"] == "ok" and found["central service"] == "skipped"
    assert program.main(["doctor", "--config-file", str(agent.with_name("none"))]) == 1
    assert capsys.readouterr().out.startswith("error    configuration")

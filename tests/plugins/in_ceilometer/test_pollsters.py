# SPDX-License-Identifier: Apache-2.0
"""The pollsters in Ceilometer's own polling manager; the agent's socket is played here."""

from __future__ import annotations

import datetime
import logging
import pathlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from ceilometer import service
from ceilometer.compute.discovery import InstanceDiscovery, NovaLikeServer
from ceilometer.polling import manager, plugin_base

from nova_diskaudit.health import AgentStatus
from nova_diskaudit.record import Disk, Guest, HostReport, Instance, Reclaimable, Used
from nova_diskaudit.telemetry import pollsters

UUID = "11111111-2222-3333-4444-555555555555"
METERS = {"diskaudit.host.allocated", "diskaudit.guest.used"}


def disk(target: str, held: int | None, used: int | None) -> Disk:
    unknown: dict[str, Any] = dict.fromkeys(Disk.__struct_fields__)
    known: dict[str, Any] = {
        "target": target,
        "kind": "local",
        "storage": "file",
        "host_allocated_bytes": held,
        "guest_used_bytes": used,
        "used": Used(bytes=None, low=0, high=None, basis="none"),
        "reclaimable": Reclaimable(low=0, high=None, estimate=None, how="none"),
        "findings": (),
    }
    return Disk(**unknown | known)


def report(*disks: Disk, uuid: str = UUID) -> HostReport:
    now = datetime.datetime.now(datetime.UTC)
    instance = Instance(
        uuid=uuid,
        domain="instance-00000001",
        state="running",
        as_of=now,
        project_id=None,
        user_id=None,
        flavor=None,
        guest=Guest(state="answered", as_of=now),
        filesystems=(),
        findings=(),
        disks=disks,
    )
    return HostReport(schema="1.0", host="h", as_of=now, storages=(), instances=(instance,))


class Agent:
    """The agent's socket: each who connects gets what it knows, without having asked."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.report: HostReport | None = None
        self.asked = 0
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listening.accept()
            self.asked += 1
            status = AgentStatus.__struct_fields__
            plain = dict.fromkeys(status) | {"version": "1", "host": "h", "pid": 1, "drops": 0}
            plain |= _EMPTY
            shown = {"report": msgspec.to_builtins(self.report), "agent": plain}
            with client:
                client.sendall(msgspec.json.encode(shown))


_EMPTY: dict[str, Any] = {
    "started_at": "2026-01-02T03:04:05Z",
    "interval_seconds": 300,
    "cycle": {"number": 1},
    "lanes": [],
    "tokens": [],
    "quarantine": [],
    "events": {"connected": True, "received": 0, "lost": 0, "connections": 1},
    "spool": {
        "depth": 0,
        "bytes": 0,
        "oldest_as_of": None,
        "dropped": 0,
        "thinned": 0,
        "rejected": 0,
        "in_memory": False,
    },
    "publisher": {"enabled": False},
}


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    pollsters._told.clear()


@pytest.fixture
def agent(tmp_path: pathlib.Path) -> Agent:
    return Agent(tmp_path / "agent.sock")


class Polling:
    """Ceilometer's agent of the namespace ``compute``, whose cycles a test begins."""

    def __init__(self, directory: pathlib.Path, **own: object) -> None:
        lines = "\n".join(f"{name} = {value}" for name, value in own.items())
        conf_file = directory / "ceilometer.conf"
        conf_file.write_text(
            "[polling]\nenable_notifications = false\n"
            f"cfg_file = {directory}/polling.yaml\nthreads_to_process_pollsters = 2\n"
            f"[nova_diskaudit]\nagent_socket = {directory}/agent.sock\n{lines}\n"
        )
        (directory / "polling.yaml").write_text(
            "sources: [{name: s, interval: 600, meters: ['diskaudit.*']}]\n"
        )
        conf = service.prepare_service([], [str(conf_file)])
        self.manager = manager.AgentManager(0, conf, ["compute"])
        self.manager.polling_manager = manager.PollingManager(conf)
        self._tasks = list(self.manager.setup_polling_tasks().values())
        self.samples: list[dict[str, Any]] = []
        for task in self._tasks:
            task._send_notification = self.samples.extend

    def cycle(self) -> dict[tuple[str, str], int]:
        """What one cycle sends, by meter and resource."""
        self.samples.clear()
        (task,) = self._tasks
        task.poll_and_notify()
        return {
            (one["counter_name"], one["resource_id"]): one["counter_volume"] for one in self.samples
        }


@pytest.fixture
def instances(monkeypatch: pytest.MonkeyPatch) -> list[NovaLikeServer]:
    """What Ceilometer discovers; how it does that is another test's."""
    flavor = {"id": "1", "name": "f", "vcpus": 1, "ram": 1, "disk": 1, "ephemeral": 0, "swap": 0}
    found = [
        NovaLikeServer(
            **{
                "id": UUID,
                "name": "web",
                "flavor": flavor,
                "image": None,
                "tenant_id": "project",
                "user_id": "user",
                "hostId": "x",
                "status": "active",
                "metadata": {},
            }
        )
    ]
    monkeypatch.setattr(InstanceDiscovery, "__init__", plugin_base.DiscoveryBase.__init__)
    monkeypatch.setattr(InstanceDiscovery, "discover", lambda *words: found)
    monkeypatch.setattr(InstanceDiscovery, "group_id", None)
    return found


@pytest.fixture
def polling(tmp_path: pathlib.Path, instances: list[NovaLikeServer]) -> Polling:
    return Polling(tmp_path)


def test_ceilometer_finds_both(polling: Polling) -> None:
    names = {one.name for one in polling.manager.extensions if one.name.startswith("diskaudit")}
    assert names == METERS
    loaded = {type(one.obj).NAME for one in polling.manager.extensions if one.name in METERS}
    assert loaded == METERS


def test_a_cycle(agent: Agent, polling: Polling) -> None:
    agent.report = report(disk("vda", 100, 50), disk("vdb", 0, None), disk("vdc", None, 0))
    assert polling.cycle() == {
        ("diskaudit.host.allocated", f"{UUID}-vda"): 100,
        ("diskaudit.host.allocated", f"{UUID}-vdb"): 0,
        ("diskaudit.guest.used", f"{UUID}-vda"): 50,
        ("diskaudit.guest.used", f"{UUID}-vdc"): 0,
    }
    # Both pollsters, two threads, one question.
    assert agent.asked == 1
    (one, *_) = polling.samples
    assert (one["counter_type"], one["counter_unit"]) == ("gauge", "B")
    assert (one["project_id"], one["user_id"]) == ("project", "user")
    assert {"disk_name", "disk_kind", "instance_id", "as_of"} <= set(one["resource_metadata"])


def test_what_others_discover_or_report_is_not_mixed_up(
    agent: Agent, polling: Polling, instances: list[NovaLikeServer]
) -> None:
    agent.report = report(disk("vda", 1, 1), uuid=UUID.replace("1", "9"))
    assert polling.cycle() == {}
    instances.clear()
    assert polling.cycle() == {}


def test_an_agent_that_is_away_is_told_of_once(
    tmp_path: pathlib.Path, polling: Polling, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> list[tuple[str, str]]:
        return [
            (one.levelname, one.getMessage())
            for one in caplog.records
            if one.name.startswith("nova_diskaudit")
        ]

    caplog.set_level(logging.INFO, "nova_diskaudit")
    for _ in range(3):
        assert polling.cycle() == {}
    ((level, message),) = said()
    assert level == "WARNING" and "is nova-diskaudit-agent running" in message
    agent = Agent(tmp_path / "agent.sock")
    agent.report = report(disk("vda", 1, 1))
    for _ in range(3):
        assert len(polling.cycle()) == 2
    assert [level for level, _ in said()] == ["WARNING", "INFO"]
    agent.report = None
    for _ in range(3):
        assert polling.cycle() == {}
    assert [level for level, _ in said()] == ["WARNING", "INFO", "WARNING"]


def test_an_agent_that_hangs_costs_its_deadline_once_and_nothing_else(
    tmp_path: pathlib.Path, polling: Polling, caplog: pytest.LogCaptureFixture
) -> None:
    polling.manager.conf.set_override("timeout", 1.0, group="nova_diskaudit")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "agent.sock"))
        listening.listen()
        assert polling.cycle() == {}
    assert "did not answer in full within 1 s" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_value_that_cannot_be_used_leaves_ceilometer_without_these_two(
    tmp_path: pathlib.Path, instances: list[NovaLikeServer], capfd: pytest.CaptureFixture[str]
) -> None:
    """And its log says why, where Ceilometer would say nothing."""
    polling = Polling(tmp_path, max_age="soon")
    names = {one.name for one in polling.manager.extensions}
    assert names and not METERS & names
    said = "".join(capfd.readouterr())
    for meter in METERS:
        assert said.count(f"No samples of {meter}: [nova_diskaudit] Value for option max_age") == 1

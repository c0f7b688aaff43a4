# SPDX-License-Identifier: Apache-2.0
"""Publishing as the agent uses it: from a configuration, to a real server."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from oslo_config import cfg

from nova_diskaudit import protocol, record
from nova_diskaudit.agent.publishing import Publishing
from nova_diskaudit.conf import ConfigurationError, opts
from tests.contract import reports
from tests.servers import recording
from tests.servers.ledger import problems

LONG = 60.0


def configuration(directory: pathlib.Path, url: str, **publisher: object) -> cfg.ConfigOpts:
    path = directory / "publishing.conf"
    options = {"enabled": "true", "backoff_max": 1} | publisher
    lines = [f"{name} = {value}" for name, value in options.items()]
    service = f"[disk_audit]\nauth_type = none\nendpoint = {url}\n"
    path.write_text("\n".join(["[publisher]", *lines, service]))
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf(["--config-file", str(path)], default_config_dirs=[])
    return conf


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def host(marks: int | dict[int, str] = 2) -> record.HostReport:
    return protocol.resolved(reports.state(marks))


@pytest.fixture
def service(tmp_path: pathlib.Path) -> Iterator[recording.Server]:
    with recording.serve(tmp_path / "chain.sqlite") as server:
        yield server


@pytest.fixture
def state_path(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "state"
    path.mkdir()
    return path


@contextlib.contextmanager
def running(publishing: Publishing) -> Iterator[Publishing]:
    """In a thread, as the agent runs it."""
    stop = threading.Event()
    thread = threading.Thread(target=publishing.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield publishing
    finally:
        stop.set()
        publishing.wake()
        thread.join(LONG)
        assert not thread.is_alive()
        publishing.close()


def test_each_cycle_arrives(
    tmp_path: pathlib.Path, state_path: pathlib.Path, service: recording.Server
) -> None:
    ids = [reports.new_id() for _ in range(5)]
    with running(Publishing(configuration(tmp_path, service.url), state_path)) as publishing:
        for number, id in enumerate(ids):
            publishing.append(host({0: "", 1: str(number)}), id)
            wait_for(lambda: publishing.status()[1].acknowledged == ids[number])  # noqa: B023
        spool, publisher = publishing.status()
        assert (spool.depth, spool.dropped, publisher.problem) == (0, 0, None)
    links = service.ledger.links()
    assert [link.id for link in links] == ids and problems(links) == []
    assert [link.kind for link in links] == ["full", *["delta"] * 4]
    state = service.ledger.state("compute-1")
    assert state is not None and protocol.resolved(state) == host({0: "", 1: "4"})


def test_what_waited_arrives_in_order(
    tmp_path: pathlib.Path, state_path: pathlib.Path, service: recording.Server
) -> None:
    ids = [reports.new_id() for _ in range(8)]
    away = configuration(tmp_path, "http://127.0.0.1:1")
    with running(Publishing(away, state_path)) as publishing:
        for id in ids[:4]:
            publishing.append(host(), id)
        wait_for(lambda: publishing.status()[1].failures)
        assert publishing.status()[0].depth == 4
        assert "Connection refused" in (publishing.status()[1].problem or "")
    with running(Publishing(configuration(tmp_path, service.url), state_path)) as publishing:
        for id in ids[4:]:
            publishing.append(host(), id)
        wait_for(lambda: publishing.status()[0].depth == 0)
    assert [link.id for link in service.ledger.links()] == ids


def test_a_reload_leads_to_another_place_at_once(
    tmp_path: pathlib.Path, state_path: pathlib.Path, service: recording.Server
) -> None:
    away = configuration(tmp_path, "http://127.0.0.1:1", backoff_max=600)
    with running(Publishing(away, state_path)) as publishing:
        publishing.append(host(), reports.new_id())
        wait_for(lambda: publishing.status()[1].failures)
        for number in range(6):  # so that it would wait for minutes
            publishing.use(away)
            wait_for(lambda: publishing.status()[1].failures > number)  # noqa: B023
        publishing.use(configuration(tmp_path, service.url))
        wait_for(lambda: publishing.status()[0].depth == 0)


def test_a_reload_that_cannot_be_used_changes_nothing(
    tmp_path: pathlib.Path, state_path: pathlib.Path, service: recording.Server
) -> None:
    with running(Publishing(configuration(tmp_path, service.url), state_path)) as publishing:
        wrong = configuration(tmp_path, f"{service.url}\nauth_type = nonsense")
        with pytest.raises(ConfigurationError, match="nonsense"):
            publishing.use(wrong)
        publishing.append(host(), reports.new_id())
        wait_for(lambda: publishing.status()[1].acknowledged)


def test_it_ends_while_a_request_is_under_way(
    tmp_path: pathlib.Path, state_path: pathlib.Path, service: recording.Server
) -> None:
    """The thread is left behind, and nothing of what it still does harms the next one."""
    service.order("slow", seconds=1.0)
    one, two = reports.new_id(), reports.new_id()
    publishing = Publishing(configuration(tmp_path, service.url), state_path)
    stop = threading.Event()
    thread = threading.Thread(target=publishing.run, args=(stop,), daemon=True)
    thread.start()
    publishing.append(host(), one)
    wait_for(lambda: service.seen)
    stop.set()
    publishing.wake()
    publishing.close()
    with running(Publishing(configuration(tmp_path, service.url), state_path)) as following:
        following.append(host(), two)
        wait_for(lambda: following.status()[0].depth == 0)
    thread.join(LONG)
    assert not thread.is_alive()
    assert [link.id for link in service.ledger.links()] == [one, two]


def test_a_second_agent_is_told_in_one_line(
    tmp_path: pathlib.Path, state_path: pathlib.Path, service: recording.Server
) -> None:
    conf = configuration(tmp_path, service.url)
    with running(Publishing(conf, state_path)):
        with pytest.raises(ConfigurationError, match="another agent") as caught:
            Publishing(conf, state_path)
        assert "\n" not in str(caught.value)


def test_a_directory_that_is_not_there(tmp_path: pathlib.Path, service: recording.Server) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        Publishing(configuration(tmp_path, service.url), tmp_path / "nowhere")


def test_credentials_that_are_missing_open_no_spool(
    tmp_path: pathlib.Path, state_path: pathlib.Path
) -> None:
    conf = configuration(tmp_path, "x\nauth_type = v3password")
    with pytest.raises(ConfigurationError, match="disk_audit"):
        Publishing(conf, state_path)
    assert list(state_path.iterdir()) == []


def test_switched_off_it_only_waits_for_the_end(
    tmp_path: pathlib.Path, state_path: pathlib.Path
) -> None:
    conf = configuration(tmp_path, "x", enabled="false")
    with running(Publishing(conf, state_path)) as publishing:
        publishing.append(host(), reports.new_id())
        publishing.use(conf)
        spool, publisher = publishing.status()
        assert not publisher.enabled and spool.depth == 0
    assert list(state_path.iterdir()) == []

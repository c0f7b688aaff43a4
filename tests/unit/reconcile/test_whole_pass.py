# SPDX-License-Identifier: Apache-2.0
"""A whole pass over real HTTP: what is asked of Nova and Placement, and what if they are away."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from nova_diskaudit.conf import service
from nova_diskaudit.reconcile import runner, tasks
from nova_diskaudit.store import ledger
from nova_diskaudit.store.tables import allocation, provider
from tests import reports
from tests.fake_nova import FakeNova
from tests.fake_placement import FakePlacement
from tests.unit.reconcile.stage import Stage
from tests.unit.store import look

NAMES = ("one", "two", "three", "four")
HOSTS = ("a", "b")


@pytest.fixture
def placement() -> Iterator[FakePlacement]:
    with FakePlacement() as server:
        yield server


@pytest.fixture
def conf(fake: FakeNova, placement: FakePlacement, tmp_path: pathlib.Path) -> cfg.ConfigOpts:
    file = tmp_path / "nova-diskaudit-api.conf"
    file.write_text(
        f"[nova]\nauth_type = none\nendpoint_override = {fake.url}\ntimeout = 5\n"
        f"[placement]\nendpoint_override = {placement.url}\n"
    )
    return service.read([str(file)])


class Cloud:
    """Four instances on two hosts, in Nova, in Placement and by reports."""

    def __init__(
        self, engine: sa.Engine, fake: FakeNova, placement: FakePlacement, conf: cfg.ConfigOpts
    ) -> None:
        self.stage, self.nova, self.placement = Stage(engine), fake, placement
        self._job = tasks.prepared(conf, ["reconciliation"])[0]
        for host in HOSTS:
            placement.node(host)
        for number, name in enumerate(NAMES):
            host = HOSTS[number % 2]
            fake.boot(self.stage.uuid(name), host)
            placement.claim(self.stage.uuid(name), **{host: 20})
        self.where = {host: list(NAMES[number::2]) for number, host in enumerate(HOSTS)}

    def run(self, minutes: float = 10) -> runner.Outcome:
        """Time goes on, all hosts report, and a pass runs."""
        self.later(minutes)
        for host, names in self.where.items():
            self.stage.reports(host, *names)
        self.later(1)
        return self.again()

    def again(self) -> runner.Outcome:
        self.placement.asked.clear()
        self.nova.asked.clear()
        return runner.attempt(
            self.stage.engine,
            self._job,
            holder="test",
            clock=lambda: self.stage.now,
            if_due=False,
        )

    def later(self, minutes: float) -> None:
        self.stage.later(minutes)
        self.nova.now = self.stage.now

    def codes(self) -> set[tuple[str, str, str]]:
        return set(self.stage.findings())


@pytest.fixture
def cloud(
    engine: sa.Engine, fake: FakeNova, placement: FakePlacement, conf: cfg.ConfigOpts
) -> Cloud:
    return Cloud(engine, fake, placement, conf)


def trouble(cloud: Cloud) -> set[tuple[str, str, str]]:
    """One thing of each kind goes wrong; what has to be found."""
    cloud.placement.claim(cloud.stage.uuid("one"), a=25)
    cloud.nova.boot(cloud.stage.uuid("missing"), "a")
    cloud.placement.claim(cloud.stage.uuid("missing"), a=20)
    cloud.where["b"].append("stranger")
    return {
        ("a", "one", "claim-mismatch"),
        ("a", "missing", "instance-without-domain"),
        ("b", "stranger", "instance-not-in-nova"),
    }


def test_a_whole_pass(cloud: Cloud) -> None:
    first = cloud.run()
    assert first.state == "done" and cloud.codes() == set()
    assert {name: first.facts[name] for name in ("providers", "asked", "hosts", "instances")} == {
        "providers": 2,
        "asked": 2,
        "hosts": 2,
        "instances": 4,
    }
    wanted = trouble(cloud)
    cloud.run()
    second = cloud.run()
    assert second.state == "done" and cloud.codes() == wanted
    cloud.placement.claim(cloud.stage.uuid("one"), a=20)
    cloud.where["a"].append("missing")
    cloud.where["b"].remove("stranger")
    cloud.run()
    assert cloud.run().facts["appeared"] == 0 and cloud.codes() == set()


def test_nothing_is_ever_written_to_nova_or_placement(cloud: Cloud) -> None:
    cloud.run()
    trouble(cloud)
    asked: list[str] = []
    for _ in range(3):
        cloud.run()
        asked += cloud.placement.asked
    assert cloud.codes()
    assert asked and {words.split()[0] for words in asked} == {"GET"}
    assert cloud.nova.methods == {"GET"}


def test_placement_is_asked_only_where_something_moved(cloud: Cloud) -> None:
    cloud.placement.node("a-pci", below="a")
    cloud.run()
    assert len(cloud.placement.asked) == 3, "what is below a node has no disk"
    cloud.run()
    assert cloud.placement.asked == ["GET /resource_providers"]
    cloud.placement.claim(reports.uuid_of("new"), b=20)
    cloud.run()
    uuid = reports.uuid_of("provider", "b")
    assert cloud.placement.asked[1:] == [f"GET /resource_providers/{uuid}/allocations"]
    assert len(look.rows(cloud.stage.engine, allocation)) == 5
    del cloud.placement.promised["b"]
    cloud.run()
    assert len(look.rows(cloud.stage.engine, allocation)) == 2
    assert [row.name for row in look.rows(cloud.stage.engine, provider)] == ["a"]
    cloud.placement.release(cloud.stage.uuid("one"))
    cloud.run()
    assert len(look.rows(cloud.stage.engine, allocation)) == 2, "it leaves no trace"
    cloud.run(minutes=6 * 60)
    assert len(look.rows(cloud.stage.engine, allocation)) == 1


def test_a_number_that_no_disk_has(cloud: Cloud) -> None:
    cloud.run()
    cloud.placement.claim(cloud.stage.uuid("one"), a=2**33 - 1)
    cloud.run()
    assert cloud.run().problem is None
    assert cloud.codes() == {("a", "one", "claim-mismatch")}


def test_a_claim_that_vanished_without_a_trace_is_found_in_time(cloud: Cloud) -> None:
    cloud.run()
    cloud.placement.release(cloud.stage.uuid("one"))
    cloud.run()
    assert cloud.codes() == set()
    cloud.run(minutes=6 * 60)
    cloud.run()
    assert cloud.codes() == {("a", "one", "claim-mismatch")}


def test_an_instance_that_moved_by_one_write(cloud: Cloud) -> None:
    """Its old provider's generation stands still; nobody takes that for a second claim."""
    cloud.run()
    cloud.placement.claim(cloud.stage.uuid("one"), b=20)
    cloud.nova.move(cloud.stage.uuid("one"), "b")
    cloud.where["a"].remove("one")
    cloud.where["b"].append("one")
    for _ in range(3):
        cloud.run()
        assert cloud.codes() == set()
    assert cloud.run().facts["doubted"] == 0


def fails_in_the_middle(cloud: Cloud) -> None:
    a = reports.uuid_of("provider", "a")
    cloud.placement.claim(reports.uuid_of("x"), a=1, b=1)
    cloud.placement.faults = [(f"{a}/allocations", 500)]


def is_away(cloud: Cloud) -> None:
    cloud.placement.faults = [("/resource_providers", 500)]


@pytest.mark.parametrize("fail", [fails_in_the_middle, is_away])
def test_placement_away(cloud: Cloud, fail: Any) -> None:
    cloud.run()
    wanted = trouble(cloud)
    cloud.run()
    assert cloud.run().state == "done" and cloud.codes() == wanted
    # What is true about claims changes both ways, and cannot be seen.
    cloud.placement.claim(cloud.stage.uuid("one"), a=20)
    cloud.placement.claim(cloud.stage.uuid("two"), b=99)
    cloud.where["b"].remove("stranger")
    fail(cloud)
    done = cloud.run()
    assert done.state == "incomplete" and "Placement" in (done.problem or "")
    assert cloud.codes() == wanted - {("b", "stranger", "instance-not-in-nova")}
    cloud.run()
    assert cloud.run().state == "done"
    assert cloud.codes() == {
        ("b", "two", "claim-mismatch"),
        ("a", "missing", "instance-without-domain"),
    }


def test_nova_away(cloud: Cloud) -> None:
    cloud.run()
    wanted = trouble(cloud)
    cloud.run()
    cloud.run()
    assert cloud.codes() == wanted
    heard = ledger.state(cloud.stage.engine).complete_at
    # All of it is mended, and something else breaks; but nobody can know.
    cloud.nova.change(cloud.stage.uuid("missing"), status="DELETED")
    cloud.where["a"].remove("one")
    cloud.where["b"].append("another")
    cloud.nova.faults = [("/servers/detail", 500, b"{}")]
    done = cloud.run()
    assert done.state == "incomplete" and "Nova" in (done.problem or "")
    assert ledger.state(cloud.stage.engine).complete_at == heard
    assert cloud.codes() == wanted - {("a", "one", "claim-mismatch")}, "that went with its domain"
    assert cloud.run().state == "done"
    cloud.run()
    assert cloud.codes() == {
        ("a", "one", "instance-without-domain"),
        ("b", "stranger", "instance-not-in-nova"),
        ("b", "another", "instance-not-in-nova"),
    }


def test_a_cell_that_is_down(cloud: Cloud) -> None:
    cloud.run()
    cloud.nova.down = {"cell2"}
    cloud.where["c"] = ["elsewhere"]
    for _ in range(3):
        assert cloud.run().state == "incomplete"
        assert cloud.codes() == set(), "it may be in the cell that is down"
    cloud.nova.down = set()
    cloud.run()
    assert cloud.codes() == {("c", "elsewhere", "instance-not-in-nova")}


def test_another_process_asks_nova_meanwhile(cloud: Cloud, conf: cfg.ConfigOpts) -> None:
    def run(turn: runner.Turn) -> runner.Result:
        return runner.Result({"state": cloud.run().state})

    busy = runner.attempt(
        cloud.stage.engine,
        runner.Job(tasks.NOVA_MAP, 60.0, run),
        holder="another",
        clock=lambda: cloud.stage.now,
        if_due=False,
    )
    assert busy.facts == {"state": "done"} and cloud.codes() == set()


def test_a_pass_that_is_broken_off(cloud: Cloud) -> None:
    cloud.run()
    wanted = trouble(cloud)
    cloud.later(10)
    told: list[str] = []
    outcome = runner.attempt(
        cloud.stage.engine,
        cloud._job,
        holder="test",
        clock=lambda: cloud.stage.now,
        if_due=False,
        tell=lambda phase, done, total: told.append(phase),
        stop=lambda: bool(told),
    )
    assert outcome.state == "stopped" and told
    cloud.run()
    cloud.run()
    assert cloud.codes() == wanted

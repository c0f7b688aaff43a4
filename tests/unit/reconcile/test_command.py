# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit-reconcile`` as a whole: a Nova and a Placement over HTTP, and what it does."""

from __future__ import annotations

import datetime
import json
import pathlib
from typing import Any

import pytest
import sqlalchemy as sa

from nova_diskaudit.cmd import reconcile
from nova_diskaudit.store.tables import host, instance, sighting
from tests import reports
from tests.canned import Canned
from tests.fake_nova import FakeNova
from tests.unit.reconcile.stage import Stage, disk

PROVIDER = reports.uuid_of("provider")


class Whole(Stage):
    """The stage's hosts, with services that are asked."""

    def __init__(
        self, engine: sa.Engine, fake: FakeNova, canned: Canned, directory: pathlib.Path
    ) -> None:
        super().__init__(engine)
        self.fake, self.canned = fake, canned
        self.conf = directory / "reconcile.conf"
        self.conf.write_text(
            f"[api]\nauth_strategy = noauth\n[database]\nconnection = {engine.url}\n"
            f"[nova]\nenabled = true\nauth_type = none\nendpoint_override = {fake.url}\n"
            f"timeout = 5\n[placement]\nendpoint_override = {canned.url}\n"
        )
        self.promise(1)

    def promise(self, generation: int, **gib: int) -> None:
        """What the one provider of Placement promised."""
        self.canned.answers["/resource_providers"] = {
            "resource_providers": [
                {
                    "uuid": PROVIDER,
                    "name": "a",
                    "generation": generation,
                    "root_provider_uuid": PROVIDER,
                    "parent_provider_uuid": None,
                }
            ]
        }
        self.canned.answers[f"/resource_providers/{PROVIDER}/allocations"] = {
            "resource_provider_generation": generation,
            "allocations": {
                reports.uuid_of(name): {"resources": {"DISK_GB": number, "VCPU": 1}}
                for name, number in gib.items()
            },
        }

    def report(self) -> None:
        """A host reports one instance; real time is the clock."""
        self.now = datetime.datetime.now(datetime.UTC)
        self.reports("a", "one", disks={"one": [disk("vda", 40)]})
        self.fake.now = self.now

    def age(self, minutes: float) -> None:
        """All that is in the store gets older by so much."""
        by = int(minutes * 60e6)
        with self.engine.begin() as connection:
            for table, columns in ((host, ("as_of", "received_at")), (sighting, ("since_at",))):
                values = {name: table.c[name] - by for name in columns}
                connection.execute(sa.update(table).values(values))

    def run(self, capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, Any]:
        """The command's own word about the reconciliation."""
        words = ["--config-file", str(self.conf), "--task", "reconciliation", "--format", "json"]
        assert reconcile.main(words) == status
        (told,) = json.loads(capsys.readouterr().out)["tasks"]
        return told

    def known(self) -> set[tuple[str, str, str]]:
        """What was found so far: host, instance, code."""
        return set(self.findings())


@pytest.fixture
def whole(engine: sa.Engine, fake: FakeNova, canned: Canned, tmp_path: pathlib.Path) -> Whole:
    return Whole(engine, fake, canned, tmp_path)


def test_a_mismatch_is_found_and_nothing_is_written_anywhere(
    whole: Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    whole.promise(1, one=20)
    whole.fake.hosts = {"a": "cell1"}
    whole.report()
    whole.fake.boot(reports.uuid_of("one"), "a")
    # The first pass learns what Nova and Placement say; the next report is held against it.
    assert whole.run(capsys)["facts"]["asked"] == 1
    assert whole.known() == set()
    # That was ten minutes ago.
    whole.fake.servers[reports.uuid_of("one")]["at"] -= datetime.timedelta(minutes=10)
    with whole.engine.begin() as connection:
        values = {"seen_at": instance.c.seen_at - 600 * 10**6}
        connection.execute(sa.update(instance).values(values))
    told = whole.run(capsys)
    assert (told["state"], told["facts"]["asked"]) == ("done", 0)
    assert whole.known() == {("a", "one", "claim-mismatch")}
    assert {one.split()[0] for one in whole.canned.asked} == {"GET"}
    assert whole.fake.methods == {"GET"}


def test_where_nothing_moved_placement_is_asked_one_thing(
    whole: Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    whole.promise(1, one=20)
    assert whole.run(capsys)["facts"]["asked"] == 1
    whole.canned.asked.clear()
    assert whole.run(capsys)["facts"]["asked"] == 0
    assert [one for one in whole.canned.asked if "allocations" in one] == []
    whole.promise(2, one=40)
    facts = whole.run(capsys)["facts"]
    assert (facts["asked"], facts["changed"]) == (1, 1)


@pytest.mark.parametrize("away", ["nova", "placement"])
def test_who_does_not_answer_is_told_and_the_rest_goes_on(
    whole: Whole, capsys: pytest.CaptureFixture[str], away: str
) -> None:
    whole.report()
    whole.age(90)
    if away == "nova":
        whole.fake.faults = [("", 503, b"{}")] * 50
    else:
        whole.canned.status["/resource_providers"] = 503
    told = whole.run(capsys, status=1)
    assert told["problem"].lower().startswith(away)
    # Age is not theirs to tell.
    assert ("a", "", "stale") in whole.known()

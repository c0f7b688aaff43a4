# SPDX-License-Identifier: Apache-2.0
"""What Gnocchi says of our disks, after it was told: a real one, with its metricd.

Each test has instances, an archive policy and a user of its own, so that all share one server.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from nova_diskaudit.cloud import CloudError
from nova_diskaudit.cloud import gnocchi as client
from nova_diskaudit.cmd import manage, reconcile
from nova_diskaudit.conf import service
from nova_diskaudit.sinks import gnocchi as sink
from nova_diskaudit.store import moment
from tests import reports
from tests.services.gnocchi import Gnocchi
from tests.unit.store.test_instance import Cloud, minutes

SERVERS = ("sqlite",)
GIB = reports.GIB
HOUR = datetime.timedelta(hours=1)
HELD = "diskaudit.host_allocated_bytes"
SAID = "diskaudit.guest_used_bytes"


@dataclasses.dataclass
class Rig:
    """A store with a cloud in it, and the way to Gnocchi."""

    server: Gnocchi
    engine: sa.Engine
    cloud: Cloud
    conf: pathlib.Path
    policy: str
    to: client.Gnocchi
    #: what the names of this test's instances begin with
    run: str

    def sees(self, host: str, *names: str, minute: float = 0, **changes: Any) -> None:
        self.cloud.sees(host, *(self.name(name) for name in names), minute=minute, **changes)

    def nova(self, name: str, minute: float = 0, **changes: Any) -> None:
        self.cloud.nova(self.name(name), minute=minute, **changes)

    def name(self, name: str) -> str:
        return f"{self.run}-{name}"

    def uuid(self, name: str) -> str:
        return reports.uuid_of(self.name(name))

    def push(self, minute: float, *, whole: bool = False, parallel: int = 1) -> sink.Sent:
        return sink.push(
            self.engine,
            self.to,
            now=minutes(minute),
            archive_policy=self.policy,
            whole_every_seconds=0 if whole else 1e6,
            parallel=parallel,
        )

    def ask(self, method: str, path: str, body: Any = None, user: str = "admin") -> Any:
        answer = requests.request(
            method, f"{self.server.url}/v1{path}", json=body, auth=(user, ""), timeout=30
        )
        assert answer.status_code < 300, (answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def resources(self, name: str) -> list[dict[str, Any]]:
        """All of an instance, by the names of its disks."""
        found: list[dict[str, Any]] = self.ask(
            "POST",
            f"/search/resource/{client.RESOURCE_TYPE}",
            {"=": {"instance_id": self.uuid(name)}},
        )
        return sorted(found, key=lambda one: str(one["disk"]))

    def series(
        self, resource: dict[str, Any], metric: str, aggregation: str = "last", hours: bool = True
    ) -> dict[datetime.datetime, float]:
        """What metricd has made of it, once nothing waits any more."""
        until = time.monotonic() + 60
        while self.ask("GET", "/status")["storage"]["summary"]["measures"]:
            assert time.monotonic() < until, "metricd does not get on"
            time.sleep(0.1)
        granularity = 3600 if hours else 86400
        told = self.ask(
            "GET",
            f"/metric/{resource['metrics'][metric]}/measures"
            f"?aggregation={aggregation}&granularity={granularity}",
        )
        return {
            datetime.datetime.fromisoformat(when).astimezone(datetime.UTC): value
            for when, _, value in told
        }


@pytest.fixture
def rig(gnocchi: Gnocchi, engine: sa.Engine, tmp_path: pathlib.Path) -> Iterator[Rig]:
    run = f"t{secrets.token_hex(4)}"
    conf = tmp_path / "nova-diskaudit-api.conf"
    conf.write_text(
        f"[database]\nconnection = {engine.url}\n"
        f"[gnocchi]\nenabled = true\nauth_type = http_basic\nusername = admin\npassword = x\n"
        f"endpoint = {gnocchi.url}\narchive_policy = {run}\n"
    )
    to = client.connect(service.read([str(conf)]))
    some = Rig(gnocchi, engine, Cloud(engine), conf, run, to, run)
    some.ask(
        "POST",
        "/archive_policy",
        {
            "name": run,
            "aggregation_methods": ["last", "mean", "max", "count"],
            "definition": [
                {"granularity": "1 hour", "points": 240},
                {"granularity": "1 day", "points": 30},
            ],
        },
    )
    to.make_resource_type()
    some.cloud.complete(0)
    yield some


def hour(number: int) -> datetime.datetime:
    """The begin of an hour, from that of the first minute on."""
    return reports.NOW.replace(minute=0, second=0) + number * HOUR


def disks(held: int, said: int | None = GIB) -> Any:
    return {
        "disks": (
            reports.disk(
                source="/var/lib/nova/instances/x/disk",
                host_allocated_bytes=held,
                guest_used_bytes=said,
            ),
        )
    }


# --- measures ---------------------------------------------------------------------------------


def test_measures_come_out_as_they_were(rig: Rig) -> None:
    rig.nova("one", host="a", project_id="red", user_id="somebody")
    for minute, held in ((0, 3 * GIB), (10, 4 * GIB), (70, 2**53 - 1)):
        rig.sees("a", "one", minute=minute, **disks(held))
        assert rig.push(minute + 1) == sink.Sent(
            whole=minute == 0, instances=1, disks=1, measures=7, made=int(minute == 0)
        )
    (disk,) = rig.resources("one")
    assert disk["project_id"] == "red" and disk["user_id"] == "somebody"
    assert (disk["disk"], disk["target"], disk["kind"], disk["host"]) == (
        "disk",
        "vda",
        "local",
        "a",
    )
    assert disk["ended_at"] is None
    assert rig.series(disk, HELD) == {hour(0): 4 * GIB, hour(1): 2**53 - 1}
    assert rig.series(disk, HELD, "mean")[hour(0)] == 3.5 * GIB
    assert rig.series(disk, HELD, "count") == {hour(0): 2, hour(1): 1}
    day = hour(0).replace(hour=0)
    assert rig.series(disk, HELD, "max", hours=False) == {day: 2**53 - 1}
    metric = rig.ask("GET", f"/metric/{disk['metrics'][HELD]}")
    assert metric["unit"] == "B"
    assert metric["archive_policy"]["name"] == rig.policy


def test_what_is_sent_again_counts_once(rig: Rig) -> None:
    rig.nova("one", host="a")
    rig.sees("a", "one", **disks(3 * GIB))
    for minute in (1, 2, 3):
        done = rig.push(minute, whole=True)
        assert (done.whole, done.measures, done.made) == (True, 7, int(minute == 1))
    (disk,) = rig.resources("one")
    assert rig.series(disk, HELD, "count") == {hour(0): 1}
    # Once more, after metricd has seen the first ones.
    rig.push(4, whole=True)
    assert rig.series(disk, HELD, "count") == {hour(0): 1}
    assert rig.series(disk, HELD) == {hour(0): 3 * GIB}


def test_only_what_changed_is_sent(rig: Rig) -> None:
    for name in ("one", "two"):
        rig.nova(name, host="a")
    rig.sees("a", "one", "two", **disks(GIB))
    assert rig.push(5).instances == 2
    assert rig.push(10) == sink.Sent(whole=False)
    rig.sees("a", "one", minute=20, **disks(2 * GIB))
    assert rig.push(21).instances == 1


def test_a_quiet_disk_has_no_gap_and_a_silent_host_has(rig: Rig) -> None:
    for name, host in (("quiet", "a"), ("silent", "b")):
        rig.nova(name, host=host)
        rig.sees(host, name, **disks(GIB))
    rig.push(1, whole=True)
    # The same again: only the host's row of the store is renewed.
    rig.sees("a", "quiet", minute=60, **disks(GIB))
    rig.push(61, whole=True)
    (quiet,), (silent,) = rig.resources("quiet"), rig.resources("silent")
    assert rig.series(quiet, HELD) == {hour(0): GIB, hour(1): GIB}
    assert rig.series(silent, HELD) == {hour(0): GIB}


def test_what_is_not_known_has_no_measure(rig: Rig) -> None:
    rig.nova("one", host="a")
    rig.sees("a", "one", **disks(GIB, said=None))
    rig.push(1)
    (disk,) = rig.resources("one")
    assert HELD in disk["metrics"] and SAID not in disk["metrics"]
    rig.sees("a", "one", minute=60, **disks(2 * GIB, said=GIB))
    rig.push(61)
    rig.sees("a", "one", minute=120, **disks(3 * GIB, said=None))
    rig.push(121)
    (disk,) = rig.resources("one")
    assert rig.series(disk, HELD) == {hour(0): GIB, hour(1): 2 * GIB, hour(2): 3 * GIB}
    # The guest was asked an hour before, so this is where it stands; and none after.
    assert list(rig.series(disk, SAID).values()) == [GIB]


def test_nothing_that_is_not_verified(rig: Rig) -> None:
    rig.sees("a", "one", "two", **disks(GIB))
    rig.nova("two", host="b")
    rig.cloud.complete(5)
    assert rig.push(10) == sink.Sent(whole=True)
    assert rig.resources("one") == rig.resources("two") == []


# --- resources --------------------------------------------------------------------------------


def test_a_disk_moves_and_its_series_goes_on(rig: Rig) -> None:
    rig.nova("one", host="a")
    rig.sees("a", "one", **disks(GIB))
    rig.push(1)
    (before,) = rig.resources("one")
    rig.nova("one", minute=60, host="b")
    moved = reports.disk("vdb", source="/srv/instances/x/disk", host_allocated_bytes=2 * GIB)
    rig.sees("b", "one", minute=61, disks=(moved,))
    assert rig.push(62).made == 0
    (after,) = rig.resources("one")
    assert after["id"] == before["id"]
    assert (after["host"], after["target"]) == ("b", "vdb")
    assert rig.series(after, HELD) == {hour(0): GIB, hour(1): 2 * GIB}
    history = rig.ask("GET", f"/resource/{client.RESOURCE_TYPE}/{after['id']}/history")
    assert [one["host"] for one in history] == ["a", "b"]


def test_an_instance_ends_and_so_do_its_disks(rig: Rig) -> None:
    for name in ("one", "two"):
        rig.nova(name, host="a")
    rig.sees("a", "one", "two", **disks(GIB))
    rig.push(1)
    deleted_at = minutes(30)
    rig.nova("one", host="a", deleted_at=moment.of(deleted_at))
    assert rig.push(31).ended == 1
    assert rig.push(32, whole=True).ended == 0
    (gone,), (there,) = rig.resources("one"), rig.resources("two")
    assert datetime.datetime.fromisoformat(gone["ended_at"]) == deleted_at
    assert there["ended_at"] is None
    # What it held is still told.
    assert rig.series(gone, HELD) == {hour(0): GIB}


@pytest.mark.parametrize("limit", [1, 3])
def test_pages_and_requests_of_any_size(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    names = [f"i{number}" for number in range(7)]
    for name in names:
        rig.nova(name, host="a")
    rig.sees("a", *names)
    monkeypatch.setattr(sink, "_PAGE", limit)
    monkeypatch.setattr(sink, "_MOST_DISKS", limit)
    monkeypatch.setattr(client, "_PAGE", 2)
    done = rig.push(1, parallel=limit)
    assert (done.instances, done.disks, done.measures) == (7, 14, 98)
    again = rig.push(2, whole=True)
    assert (again.made, again.measures) == (0, 98)
    for name in names:
        rig.nova(name, host="a", deleted_at=moment.of(minutes(3)))
    assert rig.push(4).ended == 14


def test_a_pass_is_done_piece_by_piece(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"i{number}" for number in range(5)]
    for name in names:
        rig.nova(name, host="a")
    rig.sees("a", *names, **disks(GIB))
    monkeypatch.setattr(sink, "_PAGE", 2)
    some = {"archive_policy": rig.policy, "whole_every_seconds": 1e6}
    done = [
        sink.push(rig.engine, rig.to, now=minutes(minute), seconds=0, **some)
        for minute in range(1, 4)
    ]
    assert [(one.instances, one.complete) for one in done] == [(2, False), (2, False), (1, False)]
    asked: list[int] = []

    class ToldToEnd(Exception):
        pass

    def go_on() -> None:
        asked.append(len(asked))
        raise ToldToEnd

    assert sink.push(rig.engine, rig.to, now=minutes(4), go_on=go_on, **some).complete
    assert asked == [], "nothing was left"
    with pytest.raises(ToldToEnd):
        some["whole_every_seconds"] = 0
        sink.push(rig.engine, rig.to, now=minutes(5), go_on=go_on, **some)
    assert rig.push(6).instances == 3, "two were sent before it was told to end"


# --- Gnocchi is away --------------------------------------------------------------------------


def test_gnocchi_goes_away_and_comes_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted((f"i{number}" for number in range(6)), key=rig.uuid)
    for name in names:
        rig.nova(name, host="b" if name == names[0] else "a")
    rig.sees("a", *names[1:], **disks(GIB))
    rig.sees("b", names[0], **disks(GIB))
    monkeypatch.setattr(sink, "_PAGE", 2)
    send = client.Gnocchi.send
    sent: list[bytes] = []

    def dies_after_the_second(self: client.Gnocchi, body: bytes) -> None:
        if len(sent) == 2:
            rig.server.kill()
        send(self, body)
        sent.append(body)

    with monkeypatch.context() as patch:
        patch.setattr(client.Gnocchi, "send", dies_after_the_second)
        try:
            with pytest.raises(CloudError):
                rig.push(1)
            with pytest.raises(CloudError):
                rig.push(2)
        finally:
            rig.server.resume()
    # What changes meanwhile is not forgotten, though the pass is past it.
    rig.sees("b", names[0], minute=61, **disks(2 * GIB))
    rest = rig.push(62)
    assert rest.instances == 2, "four were sent before"
    assert rig.push(63).instances >= 1
    for name in names:
        (disk,) = rig.resources(name)
        assert rig.series(disk, HELD)[hour(0)] == GIB
        assert rig.series(disk, HELD, "count")[hour(0)] == 1
        told = rig.series(disk, HELD).get(hour(1))
        assert told == (2 * GIB if name == names[0] else None)


def test_an_acknowledgement_that_is_lost(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.nova("one", host="a")
    rig.sees("a", "one", **disks(GIB))
    send = client.Gnocchi.send

    def unheard(self: client.Gnocchi, body: bytes) -> None:
        send(self, body)
        raise CloudError("the connection is broken")

    with monkeypatch.context() as patch:
        patch.setattr(client.Gnocchi, "send", unheard)
        with pytest.raises(CloudError):
            rig.push(1)
    assert rig.push(2).measures == 7
    (disk,) = rig.resources("one")
    assert rig.series(disk, HELD, "count") == {hour(0): 1}


def test_a_password_that_is_wrong_is_told(rig: Rig) -> None:
    rig.nova("one", host="a")
    conf = rig.conf.read_text().replace("http_basic", "none")
    rig.conf.write_text(conf + f"endpoint_override = {rig.server.url}\n")
    rig.to = client.connect(service.read([str(rig.conf)]))
    with pytest.raises(CloudError, match="Gnocchi answered 401"):
        rig.push(1)


def test_credentials_of_another_group(rig: Rig) -> None:
    rig.nova("one", host="a")
    rig.sees("a", "one")
    credentials = "auth_type = http_basic\nusername = admin\npassword = x\n"
    credentials += f"endpoint = {rig.server.url}\n"
    rig.conf.write_text(f"[nova]\n{credentials}[gnocchi]\nauth_section = nova\n")
    rig.to = client.connect(service.read([str(rig.conf)]))
    assert rig.push(1).instances == 1


# --- hostile hosts ----------------------------------------------------------------------------

NAMES = (
    "",
    "/",
    "'; DROP TABLE resource; --",
    "../../../../etc/passwd",
    "nul\0in\0it",
    "new\nline\r\n\x1b[2Jescape",
    "\u202egnp.exe \U0001f4be \ufeff 磁盘",
    "a" * 5000,
    "a" * 5001,
    '{"json": [1, 2]}',
    "%00%2f%s%n",
    "vda",
)


def test_hostile_names(rig: Rig) -> None:
    rig.nova("one", host="a")
    hostile = tuple(
        reports.disk(target, source=f"/i/{name}" if name else None, host_allocated_bytes=number)
        for number, (name, target) in enumerate(zip(NAMES, reversed(NAMES), strict=True))
    )
    rig.sees("a", "one", disks=hostile)
    done = rig.push(1)
    assert (done.instances, done.refused) == (1, 0)
    assert done.disks == len(NAMES)
    assert rig.push(2, whole=True).made == 0
    found = rig.resources("one")
    values = [next(iter(rig.series(one, HELD).values())) for one in found]
    assert sorted(values) == list(range(len(NAMES)))
    for one in found:
        assert all(one[name].isascii() for name in ("disk", "target", "host"))


def test_hostile_numbers_and_times(rig: Rig) -> None:
    rig.nova("one", host="a")
    rig.nova("two", host="b")
    big = 2**63 - 1
    guest = reports.instance("x").guest
    ancient = datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)
    rig.sees("b", "two", as_of=ancient, **disks(GIB))
    rig.sees("a", "one", **disks(big, said=big), guest=reports.changed(guest, checked_at=ancient))
    done = rig.push(1)
    assert done.refused == 0
    (disk,) = rig.resources("one")
    assert rig.series(disk, HELD) == {hour(0): float(big)}
    assert SAID not in disk["metrics"]


def test_a_host_that_invents_disks_is_left_out_and_told(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nova_diskaudit.sinks.series.MOST_DISKS", 4)

    def named(*names: str) -> Any:
        return {"disks": tuple(reports.disk(f"vd{name}", source=f"/i/{name}") for name in names)}

    for name, host in (("good", "a"), ("bad", "b")):
        rig.nova(name, host=host)
    rig.sees("a", "good", **named("a"))
    rig.sees("b", "bad", **named(*"abcde"))
    done = rig.push(1)
    assert (done.instances, done.refused) == (1, 1)
    assert rig.uuid("bad") in caplog.text and "5 disks" in caplog.text
    for minute, names in ((10, "abcd"), (20, "bcde")):
        rig.sees("b", "bad", minute=minute, **named(*names))
        done = rig.push(minute + 1)
    assert (done.instances, done.refused) == (0, 1)
    assert len(rig.resources("bad")) == 4


def test_what_gnocchi_refuses_spoils_nothing_else(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"i{number}" for number in range(5)]
    for name in names:
        rig.nova(name, host="a")
    rig.sees("a", *names, **disks(GIB))
    bad = rig.uuid("i3")
    plain = client.timestamp

    # A defect of ours, say: of one instance the time is not one.
    def piece(*words: Any, made: Callable[..., Any] = sink._piece) -> Any:
        found = made(*words)
        if found.uuid != bad:
            return found
        data = found.data.replace(plain(minutes(0)).encode(), b"yesterday, about noon")
        return found._replace(data=data)

    monkeypatch.setattr(sink, "_piece", piece)
    done = rig.push(5)
    assert (done.instances, done.refused) == (4, 1)
    assert bad in caplog.text and "400" in caplog.text
    assert rig.push(10) == sink.Sent(whole=False), "it is not tried for ever"


def test_if_everything_is_refused_it_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"i{number}" for number in range(30)]
    for name in names:
        rig.nova(name, host="a")
    rig.sees("a", *names, **disks(GIB))
    monkeypatch.setattr(client, "timestamp", lambda time: "yesterday, about noon")
    with pytest.raises(CloudError, match="one instance after another"):
        rig.push(1)


# --- setting it up ----------------------------------------------------------------------------


def test_without_setup_it_is_said_what_to_do(rig: Rig) -> None:
    rig.nova("one", host="a")
    rig.sees("a", "one")
    with pytest.raises(CloudError, match="nova-diskaudit-manage gnocchi setup"):
        sink.push(
            rig.engine,
            rig.to,
            now=minutes(1),
            archive_policy="there / is no such",
            whole_every_seconds=60,
        )


def test_the_commands(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{rig.run}-made"
    rig.conf.write_text(rig.conf.read_text().replace(rig.policy, name))
    words = ["--config-file", str(rig.conf), "gnocchi"]
    assert manage.main([*words, "setup"]) == 0
    assert f"archive policy {name}: made" in capsys.readouterr().out
    made = rig.ask("GET", f"/archive_policy/{name}")
    assert [(one["granularity"], one["points"]) for one in made["definition"]] == [
        ("1:00:00", 2160),
        ("1 day, 0:00:00", 1095),
    ]
    assert sorted(made["aggregation_methods"]) == ["last", "max", "mean", "min"]
    assert manage.main([*words, "setup"]) == 0
    said = capsys.readouterr().out
    assert "is as it has to be" in said and "is there" in said

    rig.nova("one", host="a")
    rig.sees("a", "one", **disks(GIB))
    task = ["--config-file", str(rig.conf), "--task", "gnocchi"]
    assert reconcile.main([*task, "--format", "json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["tasks"]
    assert (told["state"], told["facts"]["measures"]) == ("done", 7)
    rig.conf.write_text(rig.conf.read_text().replace("enabled = true", "enabled = false"))
    assert reconcile.main(task) == 2
    assert "turned off" in capsys.readouterr().err


def test_a_resource_type_of_an_older_release_is_completed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{rig.run}_disk"
    monkeypatch.setattr(client, "RESOURCE_TYPE", name)
    all_of_them = dict(client._ATTRIBUTES)
    with monkeypatch.context() as patch:
        few = {word: all_of_them[word] for word in ("instance_id", "host")}
        patch.setattr(client, "_ATTRIBUTES", few)
        assert rig.to.make_resource_type()
    assert rig.to.make_resource_type()
    assert not rig.to.make_resource_type()
    told = rig.ask("GET", f"/resource_type/{name}")
    assert told["attributes"].keys() == all_of_them.keys()
    rig.nova("one", host="a")
    rig.sees("a", "one")
    assert rig.push(1).made == 2


def test_somebody_elses_resource_type_is_left_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{rig.run}_disk"
    monkeypatch.setattr(client, "RESOURCE_TYPE", name)
    theirs = {"instance_id": {"type": "string", "required": False}}
    rig.ask("POST", "/resource_type", {"name": name, "attributes": theirs})
    with pytest.raises(CloudError, match="it is not ours"):
        rig.to.make_resource_type()

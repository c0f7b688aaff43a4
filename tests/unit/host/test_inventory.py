# SPDX-License-Identifier: Apache-2.0
"""What is made of libvirt's answers when they contradict each other, or come too late."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable

import libvirt
import msgspec
import pytest

from nova_diskaudit.facts import Domain, Process
from nova_diskaudit.host import blockstats, inventory
from nova_diskaudit.host.errors import HostError
from nova_diskaudit.host.processes import _stat
from tests.unit.host.test_domxml import RUNNING, SHUTOFF

RUNS, PAUSED, OFF, CRASHED = 1, 3, 5, 6
OK, JOB, OCCUPIED, ERROR = (0, 0, 0), (1, 0, 60_000), (2, 0, 60_000), (3, 3, 0)
YOUNG = (2, 0, 1999)


class Libvirt:
    """A connection and its one domain, with prepared answers; the last one is repeated."""

    def __init__(
        self,
        states: Iterable[int] = (RUNS,),
        xmls: Iterable[str] = (RUNNING,),
        controls: Iterable[tuple[int, int, int] | Exception] = (OK,),
        version: int = 9_000_000,
        stats: dict[str, object] | None = None,
    ) -> None:
        self._states, self._xmls, self._controls = list(states), list(xmls), list(controls)
        self._version, self._stats = version, stats or {}
        self.asked: list[str] = []

    def _next(self, name: str, answers: list) -> object:  # type: ignore[type-arg]
        self.asked.append(name)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def isAlive(self) -> int:
        return 1

    def listAllDomains(self) -> list[Libvirt]:
        return [self]

    def UUIDString(self) -> str:
        return "u"

    def getLibVersion(self) -> int:
        return self._version

    def state(self) -> list[object]:
        return [self._next("state", self._states), 0]

    def XMLDesc(self, flags: int) -> object:
        assert flags == 0
        return self._next("xml", self._xmls)

    def controlInfo(self) -> object:
        return self._next("control", self._controls)

    def ID(self) -> int:
        return 7

    def name(self) -> str:
        return "instance-7"

    def getAllDomainStats(self, groups: int, flags: int) -> list[tuple[Libvirt, dict[str, object]]]:
        assert (groups, flags) == (libvirt.VIR_DOMAIN_STATS_STATE, 0)
        return [(self, {"state.state": self._next("list", self._states), "state.reason": 1})]

    def domainListGetStats(self, domains: object, groups: int, flags: int) -> object:
        self.asked.append("stats")
        assert groups == libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_BLOCK
        assert flags == libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        return [(self, self._stats)]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "_JOB_PAUSE_SECONDS", 0)


def not_running() -> libvirt.libvirtError:
    error = libvirt.libvirtError("")
    error.err = (libvirt.VIR_ERR_OPERATION_INVALID, 10, "domain is not running") + (None,) * 6
    return error


@pytest.mark.parametrize(
    ("states", "xmls", "state"),
    [
        ([RUNS], [RUNNING], "running"),
        ([PAUSED], [RUNNING], "paused"),
        ([OFF], [SHUTOFF], "shutoff"),
        ([CRASHED], [SHUTOFF], "crashed"),
        ([CRASHED], [RUNNING], "crashed"),
        # It stopped, or started, between the two questions.
        ([RUNS, OFF], [SHUTOFF], "shutoff"),
        ([OFF, RUNS], [RUNNING], "running"),
        # It never agrees: then nothing is believed.
        ([RUNS], [SHUTOFF], "unknown"),
        ([OFF], [RUNNING], "unknown"),
        ([99], [SHUTOFF], "unknown"),
    ],
)
def test_state_and_description_must_agree(states: list[int], xmls: list[str], state: str) -> None:
    started = datetime.datetime.now(datetime.UTC)
    domain = inventory.describe(Libvirt(states, xmls), "u")  # type: ignore[arg-type]
    assert domain.state == state
    assert domain.seen_at >= started


@pytest.mark.parametrize(
    ("states", "xml", "age", "state", "asked"),
    [
        ([PAUSED], RUNNING, 0.9, "paused", ["list", "xml"]),
        ([PAUSED, RUNS], RUNNING, 1.1, "running", ["list", "state", "xml"]),
        # It stopped, or started, since it was listed.
        ([RUNS, OFF], SHUTOFF, 0.0, "shutoff", ["list", "xml", "state", "xml"]),
        ([OFF, RUNS], RUNNING, 0.0, "running", ["list", "xml", "state", "xml"]),
    ],
)
def test_the_state_of_a_young_list_is_believed_unless_contradicted(
    states: list[int],
    xml: str,
    age: float,
    state: str,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Libvirt(states, [xml])
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    inventory.list_states(host)  # type: ignore[arg-type]
    monkeypatch.setattr(time, "monotonic", lambda: now + age)
    assert inventory.describe(host, "u").state == state  # type: ignore[arg-type]
    assert host.asked == asked


def test_the_list_of_another_connection_is_not_believed() -> None:
    inventory.list_states(Libvirt([PAUSED]))  # type: ignore[arg-type]
    assert inventory.describe(Libvirt([RUNS]), "u").state == "running"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "controls", "asked"),
    [
        (9_000_000, [OCCUPIED], True),
        (11_003_000, [OK], True),
        (11_003_000, [YOUNG], True),
        (11_003_000, [OCCUPIED], False),
        (11_003_000, [ERROR], False),
        (11_003_000, [JOB, JOB, OK], True),
        (11_003_000, [not_running()], True),
    ],
)
def test_a_newer_libvirt_is_not_asked_behind_an_old_job(
    version: int, controls: list[object], asked: bool
) -> None:
    source = Libvirt(version=version, controls=controls)  # type: ignore[arg-type]
    if asked:
        inventory.describe(source, "u")  # type: ignore[arg-type]
    else:
        with pytest.raises(HostError) as caught:
            inventory.describe(source, "u")  # type: ignore[arg-type]
        assert caught.value.code == "qemu-unresponsive"
    assert ("xml" in source.asked) == asked


@pytest.mark.parametrize(
    ("controls", "code"),
    [
        ([OK], None),
        ([YOUNG], None),
        ([OCCUPIED, OCCUPIED, OCCUPIED, OK], None),
        ([OCCUPIED], "qemu-unresponsive"),
        ([JOB], "qemu-unresponsive"),
        ([ERROR], "qemu-unresponsive"),
        ([not_running()], "guest-not-running"),
        ([OCCUPIED, not_running()], "guest-not-running"),
    ],
)
def test_who_is_asked_for_block_numbers(controls: list[object], code: str | None) -> None:
    source = Libvirt(controls=controls)  # type: ignore[arg-type]
    me = Process(pid=1, start_ticks=_stat(1)[1])
    answers = blockstats.block_stats(source, [("u", me)])  # type: ignore[arg-type]
    assert answers["u"].code == code
    assert ("stats" in source.asked) == (code is None)


def test_records_go_by_name_and_a_missing_number_is_none() -> None:
    stats = {
        "state.state": 1,
        "block.count": 5,
        "block.0.name": "hda",
        "block.1.name": "vda",
        "block.1.capacity": 10,
        "block.1.allocation": 0,
        "block.1.physical": 7,
        "block.1.something.new": "x",
        "block.2.name": "vda",  # the target of a copy
        "block.2.capacity": 99,
        "block.3.capacity": 5,  # a record without a name
    }
    me = Process(pid=1, start_ticks=_stat(1)[1])
    found = blockstats.block_stats(Libvirt(stats=stats), [("u", me)])["u"].disks  # type: ignore[arg-type]
    assert set(found) == {"hda", "vda"}
    vda, hda = found["vda"], found["hda"]
    assert (vda.capacity, vda.allocation, vda.physical) == (10, 0, 7)
    assert (hda.capacity, hda.allocation, hda.physical) == (None, None, None)


def test_numbers_of_nobody() -> None:
    me = Process(pid=1, start_ticks=_stat(1)[1])
    assert blockstats.block_stats(Libvirt(), [("u", me)])["u"].disks == {}  # type: ignore[arg-type]


def test_a_handle_is_fetched_once_and_a_domain_that_is_not_listed_is_gone() -> None:
    source = Libvirt()
    lists = 0

    def listed() -> list[Libvirt]:
        nonlocal lists
        lists += 1
        return [source]

    source.listAllDomains = listed  # type: ignore[method-assign]
    for _ in range(3):
        assert inventory.lookup(source, "u") is source  # type: ignore[arg-type, comparison-overlap]
    assert lists == 1
    with pytest.raises(HostError) as raised:
        inventory.lookup(source, "v")  # type: ignore[arg-type]
    assert raised.value.code == "domain-gone"
    assert lists == 2


def describe(source: Libvirt) -> Domain:
    return inventory.describe(source, "u")  # type: ignore[arg-type]


def test_the_same_words_mean_the_same_domain_but_for_state_and_time() -> None:
    first, again = (describe(Libvirt(states=[state])) for state in (RUNS, PAUSED))
    assert (first.state, again.state) == ("running", "paused")
    assert again.seen_at > first.seen_at
    assert msgspec.structs.replace(again, state=first.state, seen_at=first.seen_at) == first


def test_other_words_are_read_anew() -> None:
    first = describe(Libvirt())
    changed = RUNNING.replace("<name>" + first.name, "<name>renamed")
    assert describe(Libvirt(xmls=[changed])).name == "renamed"


def test_what_was_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "_MOST_READ_BEFORE", 3)
    for number in range(10):
        describe(Libvirt(xmls=[f"{RUNNING}<!-- {number} -->"]))
        assert len(inventory._read_before) <= 3
    inventory._read_before.clear()
    describe(Libvirt(xmls=[RUNNING + " " * 40_000]))
    assert not inventory._read_before

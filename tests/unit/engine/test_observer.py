# SPDX-License-Identifier: Apache-2.0
"""Who is asked what, and what a missing answer does to everybody else.

The lanes are faked here to inject faults; ``tests/functional`` asks real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nova_diskaudit.audit import AuditError, Options
from nova_diskaudit.audit.observer import Observer
from nova_diskaudit.conclude import conclude
from nova_diskaudit.facts import (
    Domain,
    Process,
    StatsAnswer,
)
from nova_diskaudit.lane import operations
from nova_diskaudit.lane.errors import (
    DeadlineMissed,
    LaneBroken,
    LaneRefused,
    NoToken,
)
from tests.unit.engine.builders import facts
from tests.unit.engine.fake_lanes import Lanes, guest


def observe(lanes: Lanes, **options: Any) -> Any:
    seen = Observer(lanes, Options(uri="qemu:///system", **options)).host()  # type: ignore[arg-type]
    report = conclude(seen)
    return report, {
        i.domain: {f.code for f in i.findings} | {f.code for d in i.disks for f in d.findings}
        for i in report.instances
    }


def missed(*_: Any) -> Exception:
    return DeadlineMissed("x", 1)


def test_a_healthy_host_has_nothing_to_say_about_itself() -> None:
    lanes = Lanes(guest(1), guest(2))
    report, codes = observe(lanes)
    assert codes == {"instance-1": set(), "instance-2": set()}
    assert {i.guest.state for i in report.instances} == {"answered"}
    assert [s.identity for s in report.storages] == ["local:1"]


def test_a_guest_whose_flavor_says_so_is_left_alone() -> None:
    lanes = Lanes(guest(1, guest_stats="off"), guest(2, guest_stats="required"), guest(3))
    report, codes = observe(lanes)
    assert set(lanes.asked(operations.AGENT)) == {guest(2).uuid, guest(3).uuid}
    assert codes == {"instance-1": {"guest-stats-off"}, "instance-2": set(), "instance-3": set()}
    off = next(one for one in report.instances if one.domain == "instance-1")
    assert off.guest.state == "guest-stats-off"
    assert [disk.guest_used_bytes for disk in off.disks] == [None]
    # Its host is asked as ever.
    assert guest(1).uuid in lanes.asked(operations.BLOCK_STATS)


def test_no_block_call_goes_to_a_domain_that_is_not_running() -> None:
    lanes = Lanes(
        guest(1), *(guest(n, state=s) for n, s in ((2, "shutoff"), (3, "crashed"), (4, "paused")))
    )
    _, codes = observe(lanes)
    assert set(lanes.asked(operations.BLOCK_STATS)) == {guest(1).uuid, guest(4).uuid}
    assert set(lanes.asked(operations.AGENT)) == {guest(1).uuid}
    assert "guest-not-running" in codes["instance-4"]


def test_without_evidence_no_block_call_is_made_and_files_tell_what_they_hold() -> None:
    lanes = Lanes(guest(1), guest(2))
    report, codes = observe(lanes, ask_evidence=False)
    assert lanes.asked(operations.BLOCK_STATS) == []
    assert codes == {"instance-1": set(), "instance-2": set()}
    held = {disk.host_allocated_bytes for one in report.instances for disk in one.disks}
    assert held == {facts().allocated_bytes}
    assert {i.guest.state for i in report.instances} == {"answered"}


def test_a_dead_mount_costs_one_deadline_and_no_block_call() -> None:
    dead = [guest(n, "/mnt/dead/%d.raw") for n in range(1, 30)]
    lanes = Lanes(*dead, guest(99))

    def hang(layers: list[Any], *_: Any) -> Exception | None:
        return missed() if layers[0].source.startswith("/mnt/dead") else None

    lanes.faults["probe_layers"] = hang
    lanes.faults["filesystem"] = lambda path: missed() if path.startswith("/mnt/dead") else None
    report, codes = observe(lanes)
    assert lanes.asked(operations.BLOCK_STATS) == [guest(99).uuid]
    assert set(lanes.asked(operations.AGENT)) == {guest(99).uuid}
    assert codes["instance-99"] == set()
    assert all("storage-unresponsive" in codes[d.name] for d in dead)
    assert lanes.asked(operations.PROBE_LAYERS).count(dead[1].uuid) == 0
    hung = [s for s in report.storages if s.findings]
    assert [(s.path, s.findings[0].code) for s in hung] == [("/mnt/dead", "storage-unresponsive")]


def test_a_link_into_a_dead_mount_does_not_condemn_the_root_filesystem() -> None:
    lanes = Lanes(guest(1, "/link/%d.raw"), guest(2, "/link/%d.raw"), guest(3))

    def hang(layers: list[Any], *_: Any) -> Exception | None:
        return missed() if layers[0].source.startswith("/link") else None

    lanes.faults["probe_layers"] = hang
    _, codes = observe(lanes)
    assert codes["instance-3"] == set()
    assert "storage-unresponsive" in codes["instance-1"] & codes["instance-2"]
    assert guest(2).uuid not in lanes.asked(operations.PROBE_LAYERS)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (missed, "qemu-unresponsive"),
        (lambda *_: NoToken("stats", ()), "libvirt-busy"),
        (lambda *_: LaneBroken("gone"), "qemu-unresponsive"),
        (lambda *_: LaneRefused("no-such-code", "new"), "qemu-unresponsive"),
    ],
)
def test_a_hypervisor_that_does_not_answer_keeps_its_host_numbers(
    fault: Callable[..., Any], code: str
) -> None:
    lanes = Lanes(guest(1))
    lanes.faults["block_stats"] = fault
    report, codes = observe(lanes)
    assert code in codes["instance-1"]
    assert report.instances[0].disks[0].host_allocated_bytes == 100 * 2**20
    if code == "qemu-unresponsive":
        assert report.instances[0].guest.state == code
        assert not lanes.asked(operations.AGENT)


def test_a_domain_that_libvirt_does_not_describe_takes_nobody_along() -> None:
    members = [guest(n) for n in range(1, 20)]
    lanes = Lanes(*members)
    locked = {guest(6).uuid, guest(7).uuid}
    lanes.faults["describe"] = lambda uuid: missed() if uuid in locked else None
    report, codes = observe(lanes)
    assert {name for name, found in codes.items() if "domain-unreadable" in found} == {
        "instance-6",
        "instance-7",
    }
    assert sum(not found for found in codes.values()) == 17
    assert [one.domain for one in report.instances] == [one.name for one in members]
    # One question is left hanging for each of them, and nobody was asked twice.
    assert sorted(map(str, lanes.asked(operations.DESCRIBE))) == [one.uuid for one in members]
    assert not locked & set(lanes.asked(operations.BLOCK_STATS))


def test_a_link_into_a_dead_mount_takes_nobody_along_that_is_asked_with_it() -> None:
    members = [guest(n, "/link/%d.raw" if n in (6, 9) else "/images/%d.raw") for n in range(1, 20)]
    lanes = Lanes(*members)
    lanes.faults["probe_layers"] = lambda layers, *_: (
        missed() if layers[0].source.startswith("/link") else None
    )
    _, codes = observe(lanes)
    assert {name for name, found in codes.items() if found} == {"instance-6", "instance-9"}
    assert lanes.asked(operations.PROBE_LAYERS).count(guest(9).uuid) == 0


def test_a_domain_that_is_not_asked_leaves_the_others_of_its_question_alone() -> None:
    lanes = Lanes(*(guest(n) for n in range(1, 20)))

    def some(members: list[tuple[str, Process]]) -> dict[str, StatsAnswer]:
        stopped = StatsAnswer(disks={}, code="qemu-unresponsive", detail="stopped")
        return {u: stopped if u == guest(7).uuid else lanes.answer(u) for u, _ in members}

    lanes.faults["block_stats"] = some
    _, codes = observe(lanes)
    assert codes.pop("instance-7") == {"qemu-unresponsive"}
    assert set().union(*codes.values()) == set()


def test_a_storage_that_tells_nothing_of_itself_is_listed_all_the_same() -> None:
    lanes = Lanes(guest(1))
    lanes.faults["filesystem"] = lambda _: LaneRefused("permission-denied", "no")
    report, _ = observe(lanes)
    (storage,) = report.storages
    assert storage.total_bytes is None
    assert [f.code for f in storage.findings] == ["permission-denied"]
    assert storage.virtual_sum_bytes == 2 * 2**30


USUAL = "/var/lib/nova/instances"


def nova_guest() -> Domain:
    uuid = guest(1).uuid
    return guest(1, f"/srv/nova/{uuid}/disk%d")


@pytest.mark.parametrize(
    ("domains", "options", "expected"),
    [
        ([guest(1)], {}, USUAL),
        ([], {}, USUAL),
        ([], {"path_map": (("/var/lib/nova", "/host/nova"),)}, "/host/nova/instances"),
        ([], {"instances_path": "/srv/instances"}, "/srv/instances"),
        ([nova_guest()], {}, "/srv/nova"),
        ([nova_guest()], {"instances_path": "/srv/instances"}, "/srv/instances"),
        # Who asks for one domain does not ask for a host.
        ([guest(1)], {"instances": ("instance-1",)}, None),
    ],
)
def test_the_storage_of_novas_instances_is_told_even_while_there_are_none(
    domains: list[Domain], options: dict[str, Any], expected: str | None
) -> None:
    report, _ = observe(Lanes(*domains), **options)
    (storage,) = report.storages
    assert storage.instances_path == expected
    assert (storage.total_bytes, storage.free_bytes) == (100, 50)
    assert storage.image_cache_bytes == (None if expected is None else 7)


def test_a_host_without_nova_has_no_instances_path() -> None:
    lanes = Lanes()
    lanes.faults["filesystem"] = lambda _: LaneRefused("file-missing", "no")
    report, _ = observe(lanes)
    assert report.storages == ()


def test_of_several_asked_together_only_the_one_that_hangs_is_blamed() -> None:
    lanes = Lanes(*(guest(n) for n in range(1, 60)))
    culprit = guest(59).uuid
    lanes.stuck = {culprit}
    lanes.faults["block_stats"] = lambda members: (
        missed() if culprit in [uuid for uuid, _ in members] else None
    )
    report, codes = observe(lanes)
    blamed = {name for name, found in codes.items() if "qemu-unresponsive" in found}
    assert blamed == {"instance-59"}
    beside = {name for name, found in codes.items() if "libvirt-busy" in found}
    assert len(beside) < 8
    assert {i.guest.state for i in report.instances if i.domain in beside} <= {"answered"}


def test_a_refused_connection_to_guests_is_asked_for_once_a_worker() -> None:
    lanes = Lanes(*(guest(n) for n in range(1, 20)))
    lanes.faults["agent"] = lambda *_: LaneRefused("guest-not-permitted", "read only")
    report, _ = observe(lanes)
    assert {i.guest.state for i in report.instances} == {"guest-not-permitted"}
    assert len(lanes.asked(operations.AGENT)) <= 2


def test_a_domain_that_cannot_be_described_is_listed() -> None:
    lanes = Lanes(guest(1), guest(2))
    lanes.faults["describe"] = lambda uuid: missed() if uuid == guest(1).uuid else None
    _, codes = observe(lanes)
    assert codes == {"instance-1": {"domain-unreadable"}, "instance-2": set()}


def test_when_the_time_is_over_the_rest_says_so() -> None:
    lanes = Lanes(guest(1))
    lanes.faults["probe_layers"] = lambda *_: missed()
    _, codes = observe(lanes, timeout=1.5)  # less than a stat may take: the sweep's end, not its
    assert "audit-deadline" in codes["instance-1"]
    assert not lanes.asked(operations.BLOCK_STATS)


def test_without_a_connection_there_is_one_line_that_says_what_to_do() -> None:
    lanes = Lanes()
    lanes.faults["host_info"] = lambda: LaneRefused("no-connection", "no such socket")
    with pytest.raises(AuditError, match=r"no such socket.*--connect") as raised:
        observe(lanes)
    assert "\n" not in str(raised.value)


def test_instances_are_chosen_by_uuid_or_name_and_unknown_ones_are_an_error() -> None:
    lanes = Lanes(guest(1), guest(2), guest(3))
    report, _ = observe(lanes, instances=("instance-3", guest(1).uuid.upper()))
    assert {i.domain for i in report.instances} == {"instance-3", "instance-1"}
    with pytest.raises(AuditError, match="'nope'"):
        observe(lanes, instances=("nope",))


def test_a_domain_without_a_process_is_never_asked() -> None:
    lanes = Lanes(guest(1))
    lanes.faults["processes"] = lambda: LaneBroken("no /proc")
    report, codes = observe(lanes)
    assert "evidence-missing" in codes["instance-1"]
    # That nothing could be found in /proc is told once, of the host.
    assert [(f.code, "no /proc" in f.message) for f in report.findings] == [
        ("evidence-missing", True)
    ]
    assert not lanes.asked(operations.BLOCK_STATS)


def test_a_fault_of_our_own_is_raised_and_not_taken_for_silence() -> None:
    for operation in ("processes", "block_stats", "agent"):
        lanes = Lanes(guest(1), guest(2))
        lanes.faults[operation] = lambda *_: ZeroDivisionError("a bug")
        with pytest.raises(ZeroDivisionError):
            observe(lanes)


@pytest.mark.parametrize("text", ["qemu+ssh://node/system", "xen:///", "", "qemu:///system\n"])
def test_a_hypervisor_elsewhere_is_refused_before_anything_is_asked(text: str) -> None:
    lanes = Lanes(guest(1))
    with pytest.raises(AuditError, match="cannot audit"):
        Observer(lanes, Options(uri=text))  # type: ignore[arg-type]
    assert lanes.calls == []

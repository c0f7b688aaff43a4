# SPDX-License-Identifier: Apache-2.0
"""libvirt's inventory and block numbers, of real QEMU processes that answer or do not."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import libvirt
import pytest

from nova_diskaudit.facts import BlockStats, Process, StatsAnswer
from nova_diskaudit.host import blockstats
from nova_diskaudit.host.errors import HostError
from nova_diskaudit.lane import nursery, operations, tokens
from nova_diskaudit.lane.lanes import DeadlineMissed, LaneRefused, Lanes, NoToken
from tests.functional.conftest import (
    AGENT,
    EMPTY_DRIVE,
    LONG,
    Machine,
    Make,
    file_disk,
    run,
    wait_for,
)
from tests.lab.hypervisor import Hypervisor

MIB = 2**20


@pytest.fixture
def machine(make: Make, images: pathlib.Path) -> Machine:
    run("qemu-img", "create", "-f", "raw", images / "base", "16M")
    run("qemu-img", "create", "-f", "qcow2", "-b", images / "base", "-F", "raw", images / "top")
    run("qemu-img", "create", "-f", "raw", "-o", "preallocation=falloc", images / "raw", "8M")
    return make(
        file_disk(images / "top") + file_disk(images / "raw", "vdb", "raw") + EMPTY_DRIVE + AGENT
    )


def refused(lanes: Lanes, operation: operations.Operation[object], *args: object) -> LaneRefused:
    with pytest.raises(LaneRefused) as caught:
        lanes.call(operation, *args, deadline=LONG)
    return caught.value


def answer_of(lanes: Lanes, uuid: str, process: Process, deadline: float = LONG) -> StatsAnswer:
    return lanes.call(operations.BLOCK_STATS, [(uuid, process)], deadline=deadline, subject=uuid)[
        uuid
    ]


def stats_of(
    lanes: Lanes, uuid: str, process: Process, *, deadline: float
) -> dict[str, BlockStats]:
    answer = answer_of(lanes, uuid, process, deadline)
    assert answer.code is None, answer
    return answer.disks


# --- what is there ------------------------------------------------------------------------------


def test_the_host(lanes: Lanes, hypervisor: Hypervisor) -> None:
    info = lanes.call(operations.HOST_INFO, deadline=LONG)
    assert info.hostname == os.uname().nodename
    assert info.libvirt_version == hypervisor.versions["libvirt"]


def test_a_running_domain(lanes: Lanes, machine: Machine, images: pathlib.Path) -> None:
    listed = lanes.call(operations.LIST_STATES, deadline=LONG)
    assert (machine.uuid, machine.name) in {(one.uuid, one.name) for one in listed}
    domain = lanes.call(operations.DESCRIBE, machine.uuid, deadline=LONG)
    assert (domain.uuid, domain.name, domain.state) == (machine.uuid, machine.name, "running")
    assert domain.channel == "disconnected"
    top = next(disk for disk in domain.disks if disk.target == "vda")
    assert [layer.source for layer in top.layers] == [f"{images}/top", f"{images}/base"]
    assert top.chain_complete
    process = lanes.call(operations.PROCESSES, deadline=LONG)[machine.uuid]
    assert "-uuid" in pathlib.Path(f"/proc/{process.pid}/cmdline").read_text()


def test_every_state(lanes: Lanes, make: Make, images: pathlib.Path) -> None:
    run("qemu-img", "create", "-f", "qcow2", images / "a", "1M")
    machine = make(file_disk(images / "a"), start=False)

    def state() -> str:
        return lanes.call(operations.DESCRIBE, machine.uuid, deadline=LONG).state

    assert state() == "shutoff"
    machine.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    assert state() == "paused"
    machine.domain.resume()
    assert state() == "running"
    machine.domain.destroy()
    assert state() == "shutoff"


def test_block_numbers_by_target(lanes: Lanes, machine: Machine, images: pathlib.Path) -> None:
    found = stats_of(lanes, machine.uuid, machine.process, deadline=LONG)
    assert set(found) == {"vda", "vdb", "hda"}
    assert found["vda"].capacity == 16 * MIB
    assert found["vda"].physical == (images / "top").stat().st_blocks * 512
    assert found["vdb"].physical == (images / "raw").stat().st_blocks * 512
    # An empty drive has a name and no numbers.
    empty = found["hda"]
    assert (empty.capacity, empty.allocation, empty.physical) == (None, None, None)
    told = lanes.call(operations.BLOCK_INFO, machine.uuid, "vdb", machine.process, deadline=LONG)
    assert [told.capacity, told.allocation, told.physical] == machine.domain.blockInfo("vdb")


def test_every_kind_of_disk_has_an_answer(lanes: Lanes, make: Make, images: pathlib.Path) -> None:
    for name in ("nbd", "loop"):
        run("truncate", "-s", "4M", images / name)
    socket = images / "nbd.sock"
    loop = run("losetup", "--find", "--show", images / "loop")
    server = subprocess.Popen(["qemu-nbd", "-t", "-f", "raw", "-k", socket, images / "nbd"])
    try:
        wait_for(socket.exists)
        machine = make(
            "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
            f"<source protocol='nbd'><host transport='unix' socket='{socket}'/></source>"
            "<target dev='vda' bus='virtio'/></disk>"
            "<disk type='block' device='disk'><driver name='qemu' type='raw'/>"
            f"<source dev='{loop}'/><target dev='vdb' bus='virtio'/></disk>"
        )
        domain = lanes.call(operations.DESCRIBE, machine.uuid, deadline=LONG)
        layers = [layer for disk in domain.disks for layer in disk.layers]
        process = machine.process
        nbd, block = lanes.call(operations.PROBE_LAYERS, layers, process, [], deadline=LONG)
        assert nbd.code == "host-allocation-unknown"
        assert block.allocated_bytes == (images / "loop").stat().st_blocks * 512
        found = stats_of(lanes, machine.uuid, process, deadline=LONG)
        assert found["vda"].capacity == found["vdb"].capacity == 4 * MIB
        machine.domain.destroy()
    finally:
        server.kill()
        server.wait()
        run("losetup", "--detach", loop)


# --- who is not asked ---------------------------------------------------------------------------


def test_a_domain_that_is_off_is_never_asked(lanes: Lanes, machine: Machine) -> None:
    process = machine.process
    machine.domain.destroy()
    error = refused(lanes, operations.BLOCK_INFO, machine.uuid, "vda", process)
    assert error.code == answer_of(lanes, machine.uuid, process).code == "guest-not-running"
    assert lanes.call(operations.CONTROL, machine.uuid, process, deadline=LONG) is None
    assert lanes.call(operations.CONTROL, machine.uuid, None, deadline=LONG) is None


def test_libvirts_word_counts_when_the_process_lives(
    lanes: Lanes, machine: Machine, make: Make, images: pathlib.Path
) -> None:
    """A process of another domain does not make this one run."""
    run("qemu-img", "create", "-f", "qcow2", images / "other", "1M")
    other = make(file_disk(images / "other"))
    process = other.process
    machine.domain.destroy()
    assert answer_of(lanes, machine.uuid, process).code == "guest-not-running"


def test_a_domain_that_is_gone(lanes: Lanes, machine: Machine) -> None:
    unknown = "00000000-0000-4000-8000-00000000dead"
    assert refused(lanes, operations.DESCRIBE, unknown).code == "domain-gone"
    assert answer_of(lanes, unknown, machine.process).code == "domain-gone"
    assert lanes.call(operations.CONTROL, unknown, None, deadline=LONG) is None


def test_a_disk_without_numbers(lanes: Lanes, machine: Machine) -> None:
    process = machine.process
    for target in ("hda", "nonsense"):
        error = refused(lanes, operations.BLOCK_INFO, machine.uuid, target, process)
        assert error.code == "evidence-missing"


def test_ten_stopped_qemus_pin_no_worker(
    lanes: Lanes, make: Make, images: pathlib.Path, busy_workers: Callable[[], int]
) -> None:
    run("qemu-img", "create", "-f", "raw", images / "shared", "1M")
    machines = [
        make(
            file_disk(images / "shared", image_format="raw").replace(
                "<target", "<shareable/><target"
            )
        )
        for _ in range(10)
    ]
    # Healthy ones are asked, so that a refusal below says something.
    assert stats_of(lanes, machines[0].uuid, machines[0].process, deadline=LONG)
    stopped = [(machine, machine.stop()) for machine in machines]
    for machine, process in stopped:
        answer = answer_of(lanes, machine.uuid, process)
        assert answer.code == "qemu-unresponsive"
        assert answer.detail is not None and "stopped" in answer.detail
        # What is read from libvirt alone is still told.
        assert lanes.call(operations.DESCRIBE, machine.uuid, deadline=LONG).state == "running"
    # virt-admin itself is served by another server's pool.
    assert busy_workers() == 0
    machines[0].go_on()
    wait_for(lambda: machines[0].process and not _is_stopped(machines[0]))
    assert stats_of(lanes, machines[0].uuid, machines[0].process, deadline=LONG)


def _is_stopped(machine: Machine) -> bool:
    stat = pathlib.Path(f"/proc/{machine.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


def test_a_job_of_another_caller_that_is_stuck_is_seen(
    machine: Machine,
    hypervisor: Hypervisor,
    connection: libvirt.virConnect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when QEMU hangs in a way that its process state does not show."""
    process = machine.stop()
    caller = subprocess.Popen(
        ["virsh", "-c", hypervisor.uri, "domblkinfo", machine.name, "vda"],
        stdout=subprocess.DEVNULL,
    )
    try:
        monkeypatch.setattr(blockstats, "why_silent", lambda process: None)
        domain = connection.lookupByUUIDString(machine.uuid)
        wait_for(lambda: domain.controlInfo()[2] > 2000)
        with pytest.raises(HostError) as caught:
            blockstats.look_first(domain, process)
        assert caught.value.code == "qemu-unresponsive"
        assert "another call" in caught.value.detail
        machine.go_on()
        assert caller.wait(LONG) == 0
        wait_for(lambda: domain.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OK)
        blockstats.look_first(domain, process)
    finally:
        caller.kill()
        caller.wait()


def test_a_description_never_waits_behind_a_stuck_job(
    lanes: Lanes, machine: Machine, hypervisor: Hypervisor, busy_workers: Callable[[], int]
) -> None:
    """Libvirt 11.3 would take 30 s for it; 9.0 describes at once."""
    machine.stop()
    caller = subprocess.Popen(
        ["virsh", "-c", hypervisor.uri, "domblkinfo", machine.name, "vda"],
        stdout=subprocess.DEVNULL,
    )
    try:
        domain = libvirt.openReadOnly(hypervisor.uri).lookupByUUIDString(machine.uuid)
        wait_for(lambda: domain.controlInfo()[2] > 2000)
        if hypervisor.versions["libvirt"].startswith("9.0"):
            assert lanes.call(operations.DESCRIBE, machine.uuid, deadline=LONG).disks
        else:
            assert refused(lanes, operations.DESCRIBE, machine.uuid).code == "qemu-unresponsive"
        assert busy_workers() == 1  # that of virsh
        assert caller.poll() is None
    finally:
        machine.go_on()
        caller.wait(LONG)
    assert lanes.call(operations.DESCRIBE, machine.uuid, deadline=LONG).disks


# --- who stops just after the look --------------------------------------------------------------


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = pathlib.Path(__file__).parent / "stuck_worker.py"
    monkeypatch.setattr(nursery, "COMMAND", (sys.executable, "-I", str(worker)))
    monkeypatch.setattr(tokens, "_SETTLE_SECONDS", 0.0)


def test_a_stuck_call_is_parked_and_its_reply_is_the_sign_of_life(
    stopping: None,
    lanes: Lanes,
    machine: Machine,
    busy_workers: Callable[[], int],
) -> None:
    process = machine.process
    with pytest.raises(DeadlineMissed) as caught:
        stats_of(lanes, machine.uuid, process, deadline=0.5)
    assert caught.value.subject == machine.uuid
    # One worker, one token, and it always shows as a job.
    wait_for(lambda: busy_workers() == 1)
    control = lanes.call(operations.CONTROL, machine.uuid, process, deadline=LONG)
    assert control is not None and control.state == "busy"
    with pytest.raises(NoToken):
        stats_of(lanes, machine.uuid, process, deadline=LONG)
    assert busy_workers() == 1
    # The rest of the monitor's work goes on in another child.
    assert lanes.call(operations.LIST_STATES, deadline=LONG)
    assert lanes.returned() == []
    machine.go_on()
    wait_for(lambda: lanes.returned() == [machine.uuid])
    wait_for(lambda: busy_workers() == 0)


def test_the_next_run_knows_what_a_killed_one_left_pinned(
    stopping: None,
    hypervisor: Hypervisor,
    machine: Machine,
    tmp_path: pathlib.Path,
    busy_workers: Callable[[], int],
) -> None:
    state, process = tmp_path / "tokens.json", machine.process
    with Lanes(hypervisor.uri, state_path=state) as first, pytest.raises(DeadlineMissed):
        stats_of(first, machine.uuid, process, deadline=0.5)
    # All our processes are gone, and libvirtd's worker still waits.
    assert busy_workers() == 1
    for _ in range(3):
        with Lanes(hypervisor.uri, state_path=state) as again, pytest.raises(NoToken):
            stats_of(again, machine.uuid, process, deadline=LONG)
    assert busy_workers() == 1
    machine.go_on()
    wait_for(lambda: busy_workers() == 0)
    with Lanes(hypervisor.uri, state_path=state) as last:
        # The token is back: this one is asked again (and stopped again).
        with pytest.raises(DeadlineMissed):
            stats_of(last, machine.uuid, process, deadline=0.5)
        machine.go_on()
        wait_for(lambda: last.returned() == [machine.uuid])


def test_an_orphan_ends_with_its_qemu(
    stopping: None,
    hypervisor: Hypervisor,
    machine: Machine,
    make: Make,
    images: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    state, process = tmp_path / "tokens.json", machine.process
    with Lanes(hypervisor.uri, state_path=state) as first, pytest.raises(DeadlineMissed):
        stats_of(first, machine.uuid, process, deadline=0.5)
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not machine.domain.isActive())
    run("qemu-img", "create", "-f", "qcow2", images / "other", "1M")
    other = make(file_disk(images / "other"))
    with Lanes(hypervisor.uri, state_path=state) as second:
        with pytest.raises(DeadlineMissed):  # asked, that is: the token is free
            stats_of(second, other.uuid, other.process, deadline=0.5)
        other.go_on()
        wait_for(lambda: second.returned() == [other.uuid])


def test_kill_9_of_a_child_in_a_quick_moment_costs_no_token(lanes: Lanes, machine: Machine) -> None:
    def kill_all() -> None:
        for child in list(lanes._supervisor._children):
            if child.pid:
                with contextlib.suppress(ProcessLookupError):  # the last round's, not yet buried
                    os.kill(child.pid, signal.SIGKILL)

    process = machine.process
    stats_of(lanes, machine.uuid, process, deadline=LONG)
    for _ in range(5):
        killer = threading.Thread(target=kill_all)
        killer.start()
        found = stats_of(lanes, machine.uuid, process, deadline=LONG)
        killer.join()
        assert set(found) == {"vda", "vdb", "hda"}


# --- guests and connections -----------------------------------------------------------------------

PING = '{"execute":"guest-ping"}'


def test_agents_that_are_not_there(lanes: Lanes, make: Make, images: pathlib.Path) -> None:
    for name in ("a", "b", "c"):
        run("qemu-img", "create", "-f", "qcow2", images / name, "1M")
    silent = make(file_disk(images / "a") + AGENT)
    without = make(file_disk(images / "b"))
    off = make(file_disk(images / "c") + AGENT, start=False)
    for machine, code in (
        (silent, "agent-disconnected"),
        (without, "agent-absent"),
        (off, "guest-not-running"),
    ):
        error = refused(lanes, operations.AGENT, machine.uuid, PING, 1)
        assert error.code == code, error


def test_a_read_only_socket_asks_no_guest(hypervisor: Hypervisor, machine: Machine) -> None:
    with Lanes(hypervisor.uri_readonly, state_path=None) as lanes:
        assert lanes.call(operations.DESCRIBE, machine.uuid, deadline=LONG).state == "running"
        found = stats_of(lanes, machine.uuid, machine.process, deadline=LONG)
        assert found["vda"].capacity
        error = refused(lanes, operations.AGENT, machine.uuid, PING, 1)
        assert error.code == "guest-not-permitted"


def test_no_daemon_is_one_clear_line(tmp_path: pathlib.Path) -> None:
    with Lanes(f"qemu:///system?socket={tmp_path}/none", state_path=None) as lanes:
        error = refused(lanes, operations.LIST_STATES)
        assert error.code == "no-connection"
        assert f"{tmp_path}/none" in error.detail
        assert "\n" not in error.detail
        # The storage lane needs no libvirt.
        assert lanes.call(operations.MOUNTS, deadline=LONG)


def test_a_daemon_that_ended_is_an_error_and_one_that_came_back_is_not() -> None:
    with Hypervisor("host") as hypervisor, Lanes(hypervisor.uri, state_path=None) as lanes:
        assert lanes.call(operations.LIST_STATES, deadline=LONG) == []
        where = hypervisor.directory / "run/libvirt-sock"
        hypervisor.stop()
        assert not where.exists()
        assert refused(lanes, operations.LIST_STATES).code == "no-connection"
        with Hypervisor("host") as another:
            # The new daemon at the old place.
            where.parent.mkdir(parents=True)
            try:
                where.symlink_to(another.directory / "run/libvirt-sock")
                assert lanes.call(operations.LIST_STATES, deadline=LONG) == []
            finally:
                where.unlink()
                where.parent.rmdir()
                where.parent.parent.rmdir()


def test_the_parent_never_imports_libvirt() -> None:
    code = (
        "import sys, nova_diskaudit.lane.lanes as lanes; "
        "print([m for m in sys.modules if m.startswith(('libvirt', 'nova_diskaudit.host'))])"
    )
    assert run(sys.executable, "-c", code) == "[]"

# SPDX-License-Identifier: Apache-2.0
"""The case that the project began with, told on a real guest: run by ``tools/demo``."""

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from nova_diskaudit.record import Disk as DiskRecord
from tests.functional import agent_process
from tests.lab import guest_image
from tests.lab.domain import GIB, MIB, Disk, Domain
from tests.lab.hypervisor import Hypervisor, HypervisorError
from tests.lab.machine import GuestError, Machine, await_true, boot

PROGRAM = pathlib.Path(sys.executable).with_name("nova-diskaudit")
API = PROGRAM.with_name("nova-diskaudit-api")
OPENSTACK = PROGRAM.with_name("openstack")

SIZE = 2 * GIB
AGENT_SECONDS = 3
WRITTEN = 300 * MIB

# Reserved in full and never trimmed, as the disk of the report was; and beside it the same guest
# filesystem on a sparse file, where mkfs.xfs writes the last sector and little else.
SEED = Domain(
    "seed",
    (
        Disk("vda", SIZE, serial="reserved", options="preallocation=falloc"),
        Disk("vdb", SIZE, serial="sparse", discard=True),
    ),
    script="""
mkfs.xfs -q /dev/vda
mnt xfs /dev/vda /mnt/reserved
mkfs.xfs -q /dev/vdb
mnt xfs /dev/vdb /mnt/sparse
""",
)


def main() -> None:
    """Tell the story; everything it made is gone when it ends."""
    parser = argparse.ArgumentParser(prog="tools/demo", description=main.__doc__)
    parser.add_argument(
        "--stay", action="store_true", help="let the central service run until Enter is pressed"
    )
    try:
        _tell(is_staying=parser.parse_args().stay)
    except (HypervisorError, GuestError) as error:
        sys.exit(f"tools/demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _tell(*, is_staying: bool) -> None:
    begun = time.monotonic()
    _say("Preparing a guest with Debian's kernel and qemu-guest-agent ...")
    guest_image.ensure()
    with Hypervisor() as hypervisor:
        versions = hypervisor.versions
        _say(
            f"Booting it in a private libvirtd (libvirt {versions['libvirt']}, QEMU "
            f"{versions['qemu']}, emulated):\ntwo disks of 2 GiB, a fresh XFS on each."
        )
        machine = boot(hypervisor, SEED)
        try:
            await_true("the agent connects", lambda: machine.channel_state() == "connected")
            _show(hypervisor, machine)
            _follow(hypervisor, machine)
            _report(hypervisor, machine, is_staying=is_staying)
        finally:
            machine.stop()
    _say(f"The guest and its libvirtd are gone again. {time.monotonic() - begun:.0f} s in all.")


def _show(hypervisor: Hypervisor, machine: Machine) -> None:
    truth = machine.truth()
    _say("\nThe guest's own kernel (statfs):")
    for target, point in (("vda", "/mnt/reserved"), ("vdb", "/mnt/sparse")):
        used = truth[point].used_bytes
        share = 100 * used / SIZE
        _say(f"  {target}: {used:,} bytes used, {share:.0f} % of the disk")
    _say(f"\n$ URI='{hypervisor.uri}'")
    uri = hypervisor.uri
    for target in ("vda", "vdb"):
        _run("virsh", "--connect", uri, "domblkinfo", "seed", target, "--human", URI=uri)
    _say(
        "Two disks that are 2 % full, and virsh has all of both allocated. The storage did\n"
        "reserve all of the first one; of the second it holds next to nothing. The same\n"
        "question, asked of nova-diskaudit:\n"
    )
    _run(str(PROGRAM), "audit", "--connect", uri, URI=uri)
    for target in ("vda", "vdb"):
        _say("")
        _run(str(PROGRAM), "explain", "seed", target, "--connect", uri, URI=uri)
    _say("")


def _follow(hypervisor: Hypervisor, machine: Machine) -> None:
    """The agent beside the guest, whose numbers change by themselves."""
    with tempfile.TemporaryDirectory(prefix="nova-diskaudit-demo-") as name:
        directory = pathlib.Path(name)
        with agent_process.running(
            directory, hypervisor.uri, {"agent": {"interval": AGENT_SECONDS}}
        ) as agent:
            _say(
                "The same as a service. nova-diskaudit-agent looks every "
                f"{AGENT_SECONDS} seconds (by default every 5 minutes); nobody asks libvirt now:\n"
            )
            agent.await_cycle()
            _say(f"$ CONFIG='{agent.config}'")
            config = ("--config-file", str(agent.config))
            _run(str(PROGRAM), "audit", "--from-agent", *config, CONFIG=str(agent.config))

            def sparse() -> DiskRecord:
                instance = agent.instance(machine.spec.uuid)
                disks = {disk.target: disk for disk in instance.disks} if instance else {}
                return disks["vdb"]

            before = sparse()
            for words, command, changed in (
                (
                    "The guest writes 300 MiB to its second disk",
                    "dd if=/dev/urandom of=/mnt/sparse/data bs=1M count=300 2>/dev/null; sync",
                    # While it writes, XFS counts what it sets aside for the growing file as well.
                    lambda now: (
                        (now.guest_used_bytes or 0) // WRITTEN == 1
                        and (now.host_allocated_bytes or 0) > WRITTEN
                    ),
                ),
                (
                    "The guest deletes them and trims",
                    "rm /mnt/sparse/data; sync; fstrim /mnt/sparse",
                    lambda now: now.guest_used_bytes == before.guest_used_bytes,
                ),
            ):
                _say(f"\n{words}:\n  guest$ {command}")
                machine.run(command)
                agent.wait_for(lambda changed=changed: changed(sparse()))  # type: ignore[misc]
                now = sparse()
                _say(
                    f"  the agent, by itself: held {now.host_allocated_bytes:,} bytes, "
                    f"the guest says {now.guest_used_bytes:,}"
                )
            _say("")


def _report(hypervisor: Hypervisor, machine: Machine, *, is_staying: bool) -> None:
    """The agent sends its states to the central service, here on SQLite and without Keystone."""
    with socket.create_server(("127.0.0.1", 0)) as some:
        port = some.getsockname()[1]
    service = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="nova-diskaudit-demo-") as name:
        directory = pathlib.Path(name)
        database = f"sqlite:///{directory}/service.sqlite"
        _say("And for a whole cloud, the central service; here for one machine, on SQLite:\n")
        _say(f"$ nova-diskaudit-api --port {port} --database {database} &")
        with (directory / "service.log").open("wb") as log:
            api = subprocess.Popen(
                [API, "--port", str(port), "--database", database], stdout=log, stderr=log
            )
        try:
            await_true("the service answers", lambda: _answers(service, api, log.name))
            with agent_process.running(
                directory,
                hypervisor.uri,
                {
                    "agent": {"interval": AGENT_SECONDS},
                    "publisher": {"enabled": "true"},
                    "disk_audit": {"auth_type": "none", "endpoint_override": service},
                },
            ) as agent:
                agent.wait_for(lambda: agent.shown().agent.publisher.acknowledged is not None)
                fields = "uuid,domain,host,trust,verified,as_of,totals"
                url = f"{service}/v1/instances/{machine.spec.uuid}?fields={fields}"
                _say(f"$ curl '{url}'")
                with urllib.request.urlopen(url, timeout=agent_process.LONG) as answer:
                    _say(json.dumps(json.load(answer), indent=2))
                _ask(service)
                if is_staying:
                    with contextlib.suppress(EOFError):
                        input("\nPress Enter to take it all down. ")
        finally:
            api.terminate()
            api.wait()
    _say(
        "\nNova was not asked, so nothing is verified here. With Keystone and Nova a tenant sees\n"
        "its own instances, and an operator all of them.\n"
    )


def _answers(service: str, api: subprocess.Popen[bytes], log: str) -> bool:
    if api.poll() is not None:
        raise GuestError(f"nova-diskaudit-api has ended: {pathlib.Path(log).read_text()[-2000:]}")
    with (
        contextlib.suppress(urllib.error.URLError),
        urllib.request.urlopen(f"{service}/healthcheck"),
    ):
        return True
    return False


def _ask(service: str) -> None:
    """What people do who never heard of us: they ask OpenStack."""
    _say("\nThe same question, asked by the tenant whose guest it is:\n")
    _say(f"$ export OS_AUTH_TYPE=none OS_ENDPOINT={service}")
    os.environ |= {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": service}
    _run(str(OPENSTACK), "disk", "usage", "show")
    _say("\nAnd by the operator, who wants to know what to do:\n")
    _run(str(OPENSTACK), "disk", "audit", "finding", "list")
    _say(
        f"\nThe page for people: {service}/page\n"
        "It is there while the service runs; tools/demo --stay leaves it until Enter is pressed."
    )


def _say(words: str) -> None:
    print(words, flush=True)


def _run(program: str, *arguments: str, **names: str) -> None:
    """Run it, and show it with the values of ``names`` as variables of the shell."""
    shown = shlex.join([pathlib.Path(program).name, *arguments])
    for name, value in names.items():
        shown = shown.replace(shlex.quote(value), f'"${name}"')
    _say(f"$ {shown}")
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1):
        raise GuestError(f"{shown}: exit status {done.returncode}")


if __name__ == "__main__":
    main()

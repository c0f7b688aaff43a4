# SPDX-License-Identifier: Apache-2.0
"""Guests whose agent is absent, silent, old, or lies.

The liars speak the real protocol through the real channel, out of a real guest: what they say is
written into it as a file for each command.
"""

import dataclasses
import json
from typing import Any

from tests.lab import guests, product
from tests.lab.domain import MIB, Disk, Domain
from tests.lab.machine import Machine, await_true, boot
from tests.lab.observe import take
from tests.lab.play import Observations, Play

LIKE_STATFS = -1

_SCRIPT = """
mkfs.ext4 -q /dev/vda
mkfs.ext4 -q /dev/vdb
mnt ext4 /dev/vda /mnt/a
mnt ext4 /dev/vdb /mnt/b
fill /mnt/a/x 10
fill /mnt/b/x 20
"""

_DISKS = (
    Disk("vda", 64 * MIB, serial=guests.UUID_1),
    Disk("vdb", 64 * MIB, "qcow2", serial=guests.UUID_2, discard=True),
)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """An agent in some state, and the code that must say so."""

    name: str
    table: str
    play: Play
    label: str
    findings: frozenset[str]
    #: what the guest is held to have said of vda; LIKE_STATFS for its real numbers
    claimed: int | None = None
    #: the same of vdb
    claimed_of_other: int | None = None
    #: the longest that the audit may take, in seconds
    seconds: float = 15


def _ready(machine: Machine) -> None:
    await_true("the agent connects", lambda: machine.channel_state() == "connected")


def _gone(machine: Machine) -> None:
    await_true("the agent is gone", lambda: machine.channel_state() == "disconnected")


def _restart(machine: Machine, options: str = "") -> None:
    machine.run("agent_end")
    _gone(machine)
    machine.run(f"agent {options}")
    _ready(machine)


def perform_states(machine: Machine) -> Observations:
    seen = {}

    def look(label: str, **options: Any) -> None:
        seen[label] = take(machine, label, guest=True, **options)

    _ready(machine)
    look("well", agent=True)
    # In the guest's own shell: the agent exists, and does not answer.
    machine.run("kill -STOP $(cat /run/agent.pid)")
    look("hung")
    machine.run("kill -CONT $(cat /run/agent.pid)")
    machine.agent("guest-ping")
    look("well-again")
    machine.domain.fsFreeze()
    # The guest's own sync would wait for the thaw.
    seen["frozen"] = take(machine, "frozen")
    machine.domain.fsThaw()
    _restart(machine, "-b guest-get-fsinfo")
    look("refused")
    machine.run("agent_end")
    _gone(machine)
    look("disconnected")
    return seen


def perform_absent(machine: Machine) -> Observations:
    return {"absent": take(machine, "absent", guest=True)}


_WELL = frozenset[str]()

STATES = Play(Domain("agent-states", _DISKS, _SCRIPT), perform_states)
ABSENT = Play(Domain("agent-absent", _DISKS, _SCRIPT, agent_channel=False), perform_absent)


# -- liars ------------------------------------------------------------------------------------


def _filesystem(
    used: int | None,
    total: int | None,
    *,
    name: str = "vda",
    mountpoint: str = "/mnt/a",
    kind: str = "ext4",
    serial: str | None = guests.UUID_1[:20],
    slot: int = 0,
    bus: int = 1,
    dev: str = "/dev/vda",
    **more: Any,
) -> dict[str, Any]:
    disk: dict[str, Any] = {
        "bus-type": "virtio",
        "bus": 0,
        "unit": 0,
        "target": 0,
        "pci-controller": {"domain": 0, "bus": bus, "slot": slot, "function": 0},
        "dev": dev,
    }
    if serial is not None:
        disk["serial"] = serial
    found: dict[str, Any] = {"name": name, "mountpoint": mountpoint, "type": kind, "disk": [disk]}
    if used is not None:
        found["used-bytes"] = used
    if total is not None:
        found["total-bytes"] = total
    return found | more


@dataclasses.dataclass(frozen=True)
class Lie:
    """What an agent answers, by command, and what the audit must make of it."""

    name: str
    answers: dict[str, str]
    findings: frozenset[str] = frozenset()
    #: the bytes that are held to be claimed as used on vda, and on vdb
    claimed: int | None = None
    claimed_of_other: int | None = None
    seconds: float = 15


def _says(*found: dict[str, Any], disks: list[dict[str, Any]] | None = None) -> dict[str, str]:
    answers = {"guest-get-fsinfo": json.dumps({"return": list(found)}) + "\n"}
    if disks is not None:
        answers["guest-get-disks"] = json.dumps({"return": disks}) + "\n"
    return answers


def _long_name() -> str:
    """Shell that prints a reply with a mount point of 1 MiB."""
    reply = json.dumps({"return": [_filesystem(MIB, 50 * MIB, mountpoint="/mnt/LONG")]})
    head, _, tail = reply.partition("LONG")
    return f"printf '%s' '{head}'\nyes x | tr -d '\\n' | head -c {MIB}\nprintf '%s\\n' '{tail}'\n"


VICTIM_SERIAL = "7e57d15c-0000-4000-8000-00000000cafe"

#: another tenant's instance on the same host
VICTIM = Domain("agent-victim", (Disk("vda", 64 * MIB, serial=VICTIM_SERIAL),))


_INFO = json.dumps({"return": {"version": "8.2.0", "supported_commands": []}}) + "\n"
_IMPLAUSIBLE = frozenset({"guest-claim-implausible"})
_INVALID = frozenset({"agent-reply-invalid"})
_TERMINAL = "/mnt/\x1b[2J\x1b]0;owned\x07\r\n\x7f\x9b31m\u202egnp.\u2066x\u2069\u200f\u2028z"

LIES = (
    Lie(
        "old-agent-without-byte-counts",
        _says(_filesystem(None, None)),
        frozenset({"agent-without-byte-counts"}),
    ),
    Lie("negative", _says(_filesystem(-5, 50 * MIB)), _IMPLAUSIBLE),
    Lie("wrapped", _says(_filesystem((1 << 64) - 5, 50 * MIB)), _IMPLAUSIBLE),
    Lie("beyond-64-bit", _says(_filesystem(1 << 70, 1 << 71))),
    Lie("used-above-total", _says(_filesystem(60 * MIB, 50 * MIB)), _IMPLAUSIBLE),
    Lie(
        "used-above-disk",
        _says(_filesystem(1 << 40, 1 << 41)),
        frozenset({"guest-claim-exceeds-disk"}),
    ),
    # A tenant may say of its own disks what it likes: the serial counts, not the address.
    Lie(
        "serial-and-address-disagree",
        _says(_filesystem(MIB, 50 * MIB, serial=guests.UUID_2[:20])),
        claimed_of_other=MIB,
    ),
    Lie(
        "serial-of-another-instance",
        _says(_filesystem(MIB, 50 * MIB, serial=VICTIM_SERIAL[:20], slot=9, bus=9)),
    ),
    Lie("serial-of-nobody", _says(_filesystem(MIB, 50 * MIB, serial="nobody", slot=9, bus=9))),
    Lie(
        "one-address-for-all",
        _says(
            _filesystem(MIB, 50 * MIB, serial=None),
            _filesystem(
                2 * MIB, 50 * MIB, serial=None, dev="/dev/vdb", name="vdb", mountpoint="/mnt/b"
            ),
        ),
    ),
    Lie(
        "names-for-a-terminal", _says(_filesystem(MIB, 50 * MIB, mountpoint=_TERMINAL)), claimed=MIB
    ),
    Lie("name-of-a-mebibyte", {"guest-get-fsinfo.run": _long_name()}),
    Lie("strings-for-numbers", _says(_filesystem("1", "2"))),  # type: ignore[arg-type]
    Lie("a-list-for-a-disk", _says(_filesystem(MIB, 2 * MIB) | {"disk": [[[]]]})),
    Lie("an-object-for-the-list", {"guest-get-fsinfo": '{"return": {"a": 1}}\n'}, _INVALID),
    Lie(
        "same-device-many-times",
        _says(*[_filesystem(30 * MIB, 50 * MIB, mountpoint=f"/mnt/{n}") for n in range(40)]),
        claimed=30 * MIB,
    ),
    Lie(
        "5000-filesystems",
        {
            "guest-get-fsinfo.run": (
                "printf '{\"return\": ['\n"
                'seq 5000 | sed \'s|.*|{"name": "vda", "mountpoint": "/m/&", '
                '"type": "ext4", "used-bytes": 1048576, "total-bytes": 2097152, "disk": '
                '[{"bus-type": "virtio", "bus": 0, "unit": 0, "target": 0, "dev": "/dev/vda&", '
                '"serial": "' + guests.UUID_1[:20] + '", "pci-controller": '
                '{"domain": 0, "bus": 1, "slot": 0, "function": 0}}]},|\' | '
                "tr -d '\\n' | sed 's/,$//'\n"
                "printf ']}\\n'\n"
            )
        },
        seconds=40,
    ),
    Lie(
        "deep-nesting",
        {
            "guest-get-fsinfo.run": (
                "printf '{\"return\": '\n"
                "yes '[' | head -n 20000 | tr -d '\\n'\n"
                "yes ']' | head -n 20000 | tr -d '\\n'\n"
                "printf '}\\n'\n"
            )
        },
    ),
    Lie(
        "endless-reply",
        {
            "guest-get-fsinfo.run": (
                "printf '{\"return\": \"'\nhead -c 11000000 /dev/zero | tr '\\0' x\n"
            )
        },
        seconds=60,
    ),
    Lie("no-json", {"guest-get-fsinfo": "<html>\n"}),
    Lie("silence-after-sync", {"guest-get-fsinfo.run": ":\n"}),
    Lie("unasked-lines", {"guest-get-fsinfo.run": "yes '{\"event\": 1}' | head -n 3000\n"}),
    Lie(
        "disks-that-depend-on-themselves",
        claimed=MIB,
        answers=_says(
            _filesystem(MIB, 50 * MIB, name="dm-0"),
            disks=[
                {"name": "/dev/dm-0", "partition": False, "dependencies": ["/dev/dm-1"]},
                {"name": "/dev/dm-1", "partition": False, "dependencies": ["/dev/dm-0"]},
            ],
        ),
    ),
)


def perform_lies(machine: Machine) -> Observations:
    seen = {}
    machine.run("agent_end")
    _gone(machine)
    for lie in LIES:
        lines = [f"mkdir -p /lab/{lie.name}"]
        for name, content in {"guest-info": _INFO, **lie.answers}.items():
            lines.append(f"cat > /lab/{lie.name}/{name} << 'END'\n{content}END")
        lines.append(f"agent_script /lab/fake-agent /lab/{lie.name}")
        machine.run("\n".join(lines))
        _ready(machine)
        found = take(machine, lie.name)
        if lie.name == "names-for-a-terminal":
            # Where people look: the table and the story.
            uri, uuid = machine.hypervisor.uri, machine.spec.uuid
            for form in ("table", "prometheus"):
                found.extra[form] = product.audit(uri, uuid, form=form)
            found.extra["story"] = product.run("explain", "--connect", uri, uuid, "vda")
        if lie.name == "serial-of-another-instance":
            other = boot(machine.hypervisor, VICTIM)
            uri, uuids = machine.hypervisor.uri, (machine.spec.uuid, VICTIM.uuid)
            found.extra["both"] = product.audit(uri, *uuids)
            other.stop()
        seen[lie.name] = found
        machine.run("agent_end")
        _gone(machine)
    return seen


LIARS = Play(Domain("agent-lies", _DISKS, _SCRIPT), perform_lies)

SCENARIOS = (
    Scenario("agent-well", "4.2", STATES, "well", _WELL, claimed=LIKE_STATFS),
    Scenario("agent-absent", "4.2 no channel", ABSENT, "absent", frozenset({"agent-absent"})),
    Scenario(
        "agent-disconnected",
        "4.2 agent not started",
        STATES,
        "disconnected",
        frozenset({"agent-disconnected"}),
    ),
    Scenario("agent-hung", "4.2 agent stopped", STATES, "hung", frozenset({"agent-timeout"})),
    Scenario("agent-after-hanging", "4.2", STATES, "well-again", _WELL, claimed=LIKE_STATFS),
    Scenario("agent-frozen", "4.2 frozen", STATES, "frozen", frozenset({"agent-frozen"})),
    Scenario(
        "agent-refused",
        "4.2 agent with allow/block-rpcs",
        STATES,
        "refused",
        frozenset({"agent-refused"}),
    ),
    *(
        Scenario(
            lie.name,
            "4.2, 6.1 hostile",
            LIARS,
            lie.name,
            lie.findings,
            lie.claimed,
            lie.claimed_of_other,
            lie.seconds,
        )
        for lie in LIES
    ),
)

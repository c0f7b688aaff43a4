# SPDX-License-Identifier: Apache-2.0
"""The order of questions to an agent, and what each refusal means."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from nova_diskaudit.audit.interview import interview
from nova_diskaudit.facts import Doubt, GuestClaims
from tests.unit.engine.builders import disk

INFO = b'{"return":{"version":"7.2.22"}}'
FSINFO = b'{"return":[{"name":"%s","mountpoint":"/","type":"ext4","disk":[]}]}'
DISABLED = Doubt(code="agent-error", detail="The command guest-get-fsinfo has been disabled")


def agent(**replies: bytes | Doubt) -> tuple[Callable[[str], bytes | Doubt], list[str]]:
    asked: list[str] = []

    def ask(command: str) -> bytes | Doubt:
        name = json.loads(command)["execute"].removeprefix("guest-").replace("-", "_")
        asked.append(name)
        return replies[name]

    return ask, asked


def test_an_ordinary_guest_is_asked_two_questions() -> None:
    ask, asked = agent(info=INFO, get_fsinfo=FSINFO % b"vda1")
    answer = interview(ask, [disk()])
    assert isinstance(answer, GuestClaims)
    assert answer.agent_version == "7.2.22"
    assert answer.disks is None
    assert asked == ["info", "get_fsinfo"]


def test_a_stacked_filesystem_asks_for_the_guests_disks() -> None:
    reply = b'{"return":[{"name":"/dev/dm-0","partition":false,"dependencies":["/dev/vda1"]}]}'
    ask, asked = agent(info=INFO, get_fsinfo=FSINFO % b"dm-0", get_disks=reply)
    answer = interview(ask, [disk()])
    assert isinstance(answer, GuestClaims)
    assert answer.disks is not None and answer.disks[0].dependencies == ("/dev/vda1",)
    assert asked[-1] == "get_disks"


def test_an_agent_too_old_to_list_disks_still_answers() -> None:
    ask, _ = agent(info=INFO, get_fsinfo=FSINFO % b"dm-0", get_disks=DISABLED)
    answer = interview(ask, [disk()])
    assert isinstance(answer, GuestClaims) and answer.disks is None


@pytest.mark.parametrize("code", ["agent-timeout", "agent-disconnected", "libvirt-busy"])
def test_silence_ends_the_conversation_at_once(code: str) -> None:
    ask, asked = agent(info=Doubt(code=code))
    assert interview(ask, [disk()]) == Doubt(code=code)
    assert asked == ["info"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (b'{"return":"frozen"}', "agent-frozen"),
        (b'{"return":"thawed"}', "agent-refused"),
        (Doubt(code="agent-error"), "agent-refused"),
        (Doubt(code="agent-timeout"), "agent-refused"),
    ],
)
def test_a_frozen_agent_is_told_from_a_forbidden_command(status: bytes | Doubt, code: str) -> None:
    ask, _ = agent(info=INFO, get_fsinfo=DISABLED, fsfreeze_status=status)
    answer = interview(ask, [disk()])
    assert isinstance(answer, Doubt) and answer.code == code


def test_any_other_error_stays_an_error_with_its_text() -> None:
    error = Doubt(code="agent-error", detail="failed to statvfs /mnt")
    ask, _ = agent(info=DISABLED, get_fsinfo=error, fsfreeze_status=b'{"return":"thawed"}')
    assert interview(ask, [disk()]) == error


@pytest.mark.parametrize("reply", [b"", b"{}", b'{"return":7}', b"\xff" * 100, b"[" * 10**6])
def test_nonsense_is_one_doubt_whatever_it_is(reply: bytes) -> None:
    for replies in (
        {"info": reply, "get_fsinfo": FSINFO % b"vda1"},
        {"info": INFO, "get_fsinfo": reply},
        {"info": INFO, "get_fsinfo": FSINFO % b"dm-0", "get_disks": reply},
        {"info": INFO, "get_fsinfo": DISABLED, "fsfreeze_status": reply},
    ):
        ask, _ = agent(**replies)
        answer = interview(ask, [disk()])
        assert isinstance(answer, Doubt) and answer.code == "agent-reply-invalid"

# SPDX-License-Identifier: Apache-2.0
"""The conversation with one guest agent: which questions, in which order, and what no means.

The questions go through a lane; the answers are read here, in a process that holds no
connection to libvirt. At most four short commands a domain, and fewer when one goes unanswered.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence

from nova_diskaudit.attribute import needs_guest_disks
from nova_diskaudit.facts import DiskDefinition, Doubt, GuestClaims, GuestDisk
from nova_diskaudit.guest import parse

# Sends one command (JSON text) to the agent: its reply, or why there is none.
Ask = Callable[[str], bytes | Doubt]

_REFUSALS = ("disabled", "not been found", "not found", "CommandNotFound", "blocked")


def interview(ask: Ask, disks: Sequence[DiskDefinition]) -> GuestClaims | Doubt:
    """Ask one guest about its filesystems.

    :param disks: the disks of its domain, to judge whether the guest must list its own.
    """
    try:
        return _interview(ask, disks)
    except parse.ReplyInvalid as error:
        return Doubt(code="agent-reply-invalid", detail=str(error))


def _interview(ask: Ask, disks: Sequence[DiskDefinition]) -> GuestClaims | Doubt:
    info = ask('{"execute":"guest-info"}')
    if isinstance(info, Doubt) and info.code != "agent-error":
        return info
    as_of = datetime.datetime.now(datetime.UTC)
    reply = ask('{"execute":"guest-get-fsinfo"}')
    if isinstance(reply, Doubt):
        return _refusal(ask, reply) if reply.code == "agent-error" else reply
    filesystems = parse.filesystems(reply)
    guest_disks: tuple[GuestDisk, ...] | None = None
    if needs_guest_disks(disks, filesystems):
        listed = ask('{"execute":"guest-get-disks"}')
        if not isinstance(listed, Doubt):  # agents before QEMU 5.2 do not know the command
            guest_disks = parse.disks(listed)
    return GuestClaims(
        agent_version=None if isinstance(info, Doubt) else parse.version(info),
        filesystems=filesystems,
        disks=guest_disks,
        as_of=as_of,
    )


def _refusal(ask: Ask, error: Doubt) -> Doubt:
    """Tell a frozen agent from one that may not answer: both call the command disabled."""
    status = ask('{"execute":"guest-fsfreeze-status"}')
    if not isinstance(status, Doubt) and parse.freeze_status(status) == "frozen":
        return Doubt(code="agent-frozen")
    detail = error.detail or ""
    if any(word in detail for word in _REFUSALS):
        return Doubt(code="agent-refused", detail=detail)
    return error

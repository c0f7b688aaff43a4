# SPDX-License-Identifier: Apache-2.0
"""Replies and errors of qemuAgentCommand, with the words of libvirt 9.0 and 11.3."""

from __future__ import annotations

from typing import Any

import libvirt
import libvirt_qemu
import pytest

from nova_diskaudit.findings import CATALOGUE
from nova_diskaudit.guest import channel


def libvirt_error(code: int, message: str | None) -> libvirt.libvirtError:
    error = libvirt.libvirtError(message or "")
    error.err = (code, 0, message, 2, None, None, None, -1, -1)
    return error


class Connection:
    def lookupByUUIDString(self, uuid: str) -> str:
        return uuid


def ask(monkeypatch: pytest.MonkeyPatch, outcome: Any) -> bytes:
    def command(domain: str, text: str, timeout: int, flags: int) -> Any:
        assert (domain, text, timeout, flags) == ("u", "{}", 3, 0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", command)
    return channel.agent(Connection(), "u", "{}", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "message", "code"),
    [
        (
            86,
            "Guest agent is not responding: QEMU guest agent is not connected",
            "agent-disconnected",
        ),
        (
            86,
            "Guest agent is not responding: Guest agent disappeared while executing command",
            "agent-disconnected",
        ),
        (86, "Guest agent is not responding: Guest agent not available for now", "agent-timeout"),
        (
            86,
            "Guest agent is not responding: QEMU guest agent is not available due to an error",
            "agent-reply-invalid",
        ),
        (112, "guest agent command timed out", "agent-timeout"),
        (68, "Timed out during operation: cannot acquire state change lock", "agent-timeout"),
        (
            1,
            "internal error: unable to execute QEMU agent command 'guest-get-fsinfo': "
            "The command guest-get-fsinfo has been disabled for this instance",
            "agent-error",
        ),
        (113, "guest agent command failed: unable to execute QEMU agent command", "agent-error"),
        (
            38,
            "No complete agent response found in 10485760 bytes: Numerical result out of range",
            "agent-reply-invalid",
        ),
        (38, "Unable to read from the agent: Input/output error", "agent-error"),
        (1, "internal error: Missing agent reply object", "agent-reply-invalid"),
        (39, "Unable to encode message payload", "agent-reply-invalid"),
        (74, "argument unsupported: QEMU guest agent is not configured", "agent-absent"),
        (55, "Requested operation is not valid: domain is not running", "guest-not-running"),
        (42, "Domain not found: no domain with matching uuid", "guest-not-running"),
        (
            29,
            "operation virDomainQemuAgentCommand forbidden: read only access prevents it",
            "guest-not-permitted",
        ),
        (88, "access denied", "guest-not-permitted"),
        (45, "authentication failed: polkit", "guest-not-permitted"),
        (9999, "something new", "agent-error"),
        (9999, None, "agent-error"),
    ],
)
def test_errors_have_codes(
    monkeypatch: pytest.MonkeyPatch, number: int, message: str | None, code: str
) -> None:
    with pytest.raises(channel.AgentError) as caught:
        ask(monkeypatch, libvirt_error(number, message))
    assert caught.value.code == code
    assert code in CATALOGUE
    assert caught.value.detail == (message or "unknown error")


def test_what_a_guest_says_in_an_error_acts_on_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "unable to execute QEMU agent command 'x': \x1b[31m\n\u202e" + "a" * 10_000
    with pytest.raises(channel.AgentError) as caught:
        ask(monkeypatch, libvirt_error(1, message))
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) <= 500


def test_a_reply_is_passed_on_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, '{"return": "\u00e9"}') == '{"return": "\u00e9"}'.encode()


@pytest.mark.parametrize(
    "reply",
    [
        None,
        "x" * (channel.MAX_REPLY_BYTES + 1),
        "\u00e9" * (channel.MAX_REPLY_BYTES // 2 + 1),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        SystemError("<built-in function ...> returned a result with an exception set"),
    ],
)
def test_a_reply_that_is_none(monkeypatch: pytest.MonkeyPatch, reply: Any) -> None:
    with pytest.raises(channel.AgentError) as caught:
        ask(monkeypatch, reply)
    assert caught.value.code == "agent-reply-invalid"


def test_the_bound_is_inclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(ask(monkeypatch, "x" * channel.MAX_REPLY_BYTES)) == channel.MAX_REPLY_BYTES

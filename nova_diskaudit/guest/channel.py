# SPDX-License-Identifier: Apache-2.0
"""The one call to a guest agent: a command in, a bounded reply out, or an error with a code.

``qemuAgentCommand`` and nothing else. ``guestInfo`` keeps the agent's job even after the caller
died when an agent answers the sync and then stalls, so that Nova's fsFreeze fails; and
``agentSetResponseTimeout`` is shared with Nova's quiesce (measured on libvirt 9.0).
"""

from __future__ import annotations

import libvirt
import libvirt_qemu

MAX_REPLY_BYTES = 2**20
_MAX_DETAIL_CHARACTERS = 500

_DENIED = frozenset(
    {
        libvirt.VIR_ERR_OPERATION_DENIED,
        libvirt.VIR_ERR_ACCESS_DENIED,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    }
)
# Not named by the bindings of libvirt before 11.2.
_AGENT_COMMAND_TIMEOUT = 112
_AGENT_COMMAND_FAILED = 113
# A reply of more than 10 MiB is a system error to libvirt (9.0, qemuAgentIOProcessData).
_ENDLESS = "No complete agent response"


class AgentError(Exception):
    """No reply. ``code`` is a finding's code, ``detail`` one clause of text.

    In the detail of ``agent-error`` the guest speaks: it is cleaned and cut, but not believed.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def agent(connection: libvirt.virConnect, uuid: str, command: str, timeout_seconds: int) -> bytes:
    """Ask the agent of one running domain; the reply is JSON as libvirt passed it on.

    It returns within ``timeout_seconds`` and 10 s more, since the sync before the command has a
    timeout of its own (libvirt 9.0 ``qemuAgentGuestSync``).

    :raises AgentError: ``agent-absent``, ``agent-disconnected``, ``agent-timeout``,
        ``agent-error``, ``agent-reply-invalid``, ``guest-not-permitted``, ``guest-not-running``.
    """
    try:
        domain = connection.lookupByUUIDString(uuid)
        reply = libvirt_qemu.qemuAgentCommand(domain, command, timeout_seconds, 0)
    except libvirt.libvirtError as error:
        raise translate(error) from None
    except (UnicodeDecodeError, SystemError):
        # The latter when libvirt quotes the guest in an error that the bindings cannot decode.
        raise AgentError("agent-reply-invalid", "what the guest says is not UTF-8") from None
    if not isinstance(reply, str):
        raise AgentError("agent-reply-invalid", "there was no reply")
    # Before encoding, so that a huge reply is not held twice.
    if len(reply) > MAX_REPLY_BYTES:
        raise _too_large()
    encoded = reply.encode("utf-8", "replace")
    if len(encoded) > MAX_REPLY_BYTES:
        raise _too_large()
    return encoded


def translate(error: libvirt.libvirtError) -> AgentError:
    """Libvirt's error as a code and a clause.

    Codes alone do not tell: libvirt 9.0 uses VIR_ERR_AGENT_UNRESPONSIVE both for a channel that
    nobody opened and for an agent that is silent (src/qemu/qemu_domain.c, qemu_agent.c).
    """
    number = error.get_error_code()
    text = _clean(error.get_error_message() or "unknown error")
    if number in _DENIED:
        return AgentError("guest-not-permitted", text)
    if number in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
        return AgentError("guest-not-running", text)
    if number == libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED:
        return AgentError("agent-absent", text)
    if number == libvirt.VIR_ERR_AGENT_UNRESPONSIVE:
        if "not connected" in text or "disappeared" in text:
            return AgentError("agent-disconnected", text)
        if "due to an error" in text:
            # It once sent what is no JSON; libvirt then refuses it until the channel is reopened.
            return AgentError("agent-reply-invalid", text)
        return AgentError("agent-timeout", text)
    if number in (libvirt.VIR_ERR_OPERATION_TIMEOUT, _AGENT_COMMAND_TIMEOUT):
        return AgentError("agent-timeout", text)
    if number == _AGENT_COMMAND_FAILED or "unable to execute QEMU agent command" in text:
        return AgentError("agent-error", text)
    if number in (libvirt.VIR_ERR_RPC, libvirt.VIR_ERR_INTERNAL_ERROR) or _ENDLESS in text:
        return AgentError("agent-reply-invalid", text)
    return AgentError("agent-error", text)


def _too_large() -> AgentError:
    return AgentError("agent-reply-invalid", f"the reply has more than {MAX_REPLY_BYTES} bytes")


def _clean(text: str) -> str:
    text = " ".join(text.split())[:_MAX_DETAIL_CHARACTERS]
    return "".join(c if c.isprintable() else "\ufffd" for c in text)

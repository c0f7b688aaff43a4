# SPDX-License-Identifier: Apache-2.0
"""The child's side of a lane: reads a request, calls ``host`` or ``guest``, sends the reply.

It imports only what its kind needs. It ends at the end of its input, and the kernel kills it
when its parent dies, so that it outlives nobody.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from typing import Any

import msgspec

from nova_diskaudit.lane import operations, wire

_PR_SET_PDEATHSIG = 1
_MAX_DETAIL_CHARACTERS = 1000

Handler = Callable[..., Any]


def main(kind: str, uri: str) -> None:
    """Serve requests on the socket that is standard input until it ends."""
    _die_with_parent()
    # Ctrl-C on the terminal is for the parent, which then ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    fd = os.dup(0)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    os.chdir("/")
    try:
        handlers = bindings(kind, uri)
    except ImportError as error:
        refusal = wire.Reply(wire.READY, "no-connection", str(error), wire.encode(None))
        wire.write_all(fd, wire.frame(refusal))
        return
    wire.write_all(fd, wire.frame(wire.Reply(wire.READY, None, None, wire.encode(None))))
    serve(fd, handlers)


def bindings(kind: str, uri: str) -> dict[str, Handler]:
    """The functions behind the operations of this kind, by name.

    :raises ImportError: when libvirt's bindings are not installed.
    """
    if kind == "storage":
        from nova_diskaudit.host import filesystem, instances, mounts, processes, storage
        from nova_diskaudit.host.storage import signature

        return {
            "mounts": mounts.mounts,
            "processes": processes.processes,
            "probe_layers": storage.probe_layers,
            "signatures": signature.signatures,
            "filesystem": filesystem.filesystem,
            "instances_directory": instances.instances_directory,
            "managed_save": instances.managed_save,
        }
    from nova_diskaudit.lane.connection import Connection

    connection = Connection(uri, read_only=kind != "guest")
    functions: dict[str, Handler]
    if kind == "monitor":
        from nova_diskaudit.host import inventory

        functions = {
            "host_info": inventory.host_info,
            "list_domains": inventory.list_domains,
            "list_states": inventory.list_states,
            "describe": inventory.describe,
            "digests": inventory.digests,
            "control": inventory.control,
        }
    elif kind == "evidence":
        from nova_diskaudit.host import blockstats

        functions = {
            "block_stats": blockstats.block_stats,
            "block_info": blockstats.block_info,
        }
    elif kind == "guest":
        from nova_diskaudit.guest import channel

        functions = {"agent": channel.agent}
    elif kind == "events":
        from nova_diskaudit.host import events

        events.prepare()
        functions = {"events": events.events}
    else:
        raise ValueError(f"no such lane: {kind!r}")
    repeatable = {o.name: o.repeatable for o in operations.ALL}
    return {
        name: connection.bind(function, repeatable=repeatable[name])
        for name, function in functions.items()
    }


def serve(fd: int, handlers: dict[str, Handler]) -> None:
    """Answer requests until the other side hangs up.

    :raises wire.ProtocolError: when the other side does not speak the protocol.
    """
    reader = wire.FrameReader()
    decoders = {
        o.name: msgspec.msgpack.Decoder(o.arguments) for o in operations.ALL if o.name in handlers
    }
    while (payload := wire.read_frame(fd, reader)) is not None:
        request = wire.decode_request(payload)
        wire.write_all(fd, _answer(request, handlers, decoders))


def _answer(
    request: wire.Request,
    handlers: dict[str, Handler],
    decoders: dict[str, msgspec.msgpack.Decoder[Any]],
) -> bytes:
    try:
        arguments = decoders[request.operation].decode(request.arguments)
        result = wire.encode(handlers[request.operation](*arguments))
        return wire.frame(wire.Reply(request.serial, None, None, result))
    except Exception as error:
        # The rooms' errors carry a code; anything else is a fault of ours, and says so.
        code = getattr(error, "code", None)
        detail = getattr(error, "detail", None)
        if not isinstance(code, str) or not isinstance(detail, str):
            code, detail = "internal-error", f"{type(error).__name__}: {error}"
        detail = detail[:_MAX_DETAIL_CHARACTERS].encode("utf-8", "replace").decode()
        return wire.frame(wire.Reply(request.serial, code, detail, wire.encode(None)))


def _die_with_parent() -> None:
    """Have the kernel kill us when the thread that started us ends (prctl(2)).

    End of input alone would not do: a child that hangs in a call does not read. A parent that
    died before this line has closed the socket, which is seen at the first read.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

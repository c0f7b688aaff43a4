# SPDX-License-Identifier: Apache-2.0
"""The child's side of a lane: reads a request, calls ``host`` or ``guest``, sends the reply.

It is forked from the nursery (:mod:`nova_diskaudit.lane.forker`) and opens what its kind needs. It
ends at the end of its input, and the kernel kills it when the nursery dies, so that it outlives
nobody.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import signal
from collections.abc import Callable
from typing import Any

import msgspec

from nova_diskaudit.lane import operations, wire
from nova_diskaudit.lane.teller import Teller

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_MAX_DETAIL_CHARACTERS = 1000
_SOCKET = 3

# What :func:`bindings` imports, so that it costs time and memory once.
_ROOMS = (
    "nova_diskaudit.host.instances",
    "nova_diskaudit.host.storage.signature",
    "nova_diskaudit.lane.connection",
    "nova_diskaudit.host.inventory",
    "nova_diskaudit.host.blockstats",
    "nova_diskaudit.host.events",
    "nova_diskaudit.guest.channel",
)
_DECODERS: dict[str, msgspec.msgpack.Decoder[Any]] = {
    o.name: msgspec.msgpack.Decoder(o.arguments) for o in operations.ALL
}
_prctl = ctypes.CDLL(None).prctl

Handler = Callable[..., Any]


def preload() -> None:
    """Import what lanes need. Without libvirt's bindings it is less, and :func:`bindings` says so.

    Nothing of it opens a file or a connection, or starts a thread.
    """
    with contextlib.suppress(ImportError):
        for room in _ROOMS:
            importlib.import_module(room)


def main(kind: str, uri: str, end: int, parent: int) -> None:
    """Serve requests on the socket ``end`` until it ends; ``parent`` is the nursery's process id.

    Called in a process that was just forked: standard input, output and errors lead nowhere, and
    everything else that it has open is the nursery's and is closed.
    """
    die_with_parent()
    if os.getppid() != parent:
        return  # it had died before
    name_process(f"lane-{kind}")
    os.setsid()
    os.dup2(end, _SOCKET, inheritable=False)
    os.closerange(_SOCKET + 1, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    gc.enable()
    try:
        handlers = bindings(kind, uri)
    except ImportError as error:
        refusal = wire.refusal("no-connection", str(error))
        wire.write_all(_SOCKET, wire.frame(wire.Reply(wire.READY, [refusal])))
        return
    wire.write_all(_SOCKET, wire.frame(wire.Reply(wire.READY, [])))
    serve(_SOCKET, handlers)


def bindings(kind: str, uri: str) -> dict[str, Handler]:
    """The functions behind the operations of this kind, by name.

    :raises ImportError: when libvirt's bindings are not installed.
    """
    if kind == "storage":
        from nova_diskaudit.host import (
            filesystem,
            instances,
            mounts,
            processes,
            statusfile,
            storage,
        )
        from nova_diskaudit.host.storage import signature

        return {
            "mounts": mounts.mounts,
            "processes": processes.processes,
            "probe_layers": storage.probe_layers,
            "signatures": signature.signatures,
            "status_files": statusfile.status_files,
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
    teller = Teller(fd)
    while (payload := wire.read_frame(fd, reader)) is not None:
        request = wire.decode_request(payload)
        teller.begin(request.serial, len(request.things))
        for arguments in request.things:
            teller.add(_answer(request.operation, arguments, handlers))
        teller.end()


def _answer(operation: str, arguments: msgspec.Raw, handlers: dict[str, Handler]) -> wire.Answer:
    try:
        handler = handlers[operation]
        result = wire.encode(handler(*_DECODERS[operation].decode(arguments)))
        if len(memoryview(result)) > wire.MAX_CONTENT_BYTES:
            raise wire.ProtocolError(f"an answer of {len(memoryview(result))} bytes")
        return wire.Answer(None, None, result)
    except Exception as error:
        # The rooms' errors carry a code; anything else is a fault of ours, and says so.
        code = getattr(error, "code", None)
        detail = getattr(error, "detail", None)
        if not isinstance(code, str) or not isinstance(detail, str):
            code, detail = "internal-error", f"{type(error).__name__}: {error}"
        detail = detail[:_MAX_DETAIL_CHARACTERS].encode("utf-8", "replace").decode()
        return wire.refusal(code, detail)


def die_with_parent() -> None:
    """Have the kernel kill us when the thread that started us ends (prctl(2)).

    End of input alone would not do: a child that hangs in a call does not read. Who starts us may
    have died before this line, which the caller has to find out.
    """
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def name_process(name: str) -> None:
    """What ``ps`` shows as the command's name, of 15 characters at most (prctl(2))."""
    _prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)

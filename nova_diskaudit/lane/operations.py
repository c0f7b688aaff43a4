# SPDX-License-Identifier: Apache-2.0
"""The table of operations: what a lane can be asked, seen alike by both sides.

Each names its lane, its arguments and its result; what it does stands with the function of the
same name in ``host/`` and ``guest/``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar, get_args

import msgspec

from nova_diskaudit.facts import (
    BlockInfo,
    Control,
    Domain,
    Events,
    HostInfo,
    InstancesDirectory,
    Layer,
    LayerFacts,
    Listed,
    Mount,
    Process,
    Signature,
    StatsAnswer,
    StorageFacts,
)

# The monitor lane reads what libvirt knows and never waits; the evidence lane asks QEMU and may
# wait for ever. Two processes, so that the inventory goes on meanwhile: handing one process back
# and forth between the two costs more than the calls (tests/bench/audit.py shows it). The events
# lane waits for what libvirt tells by itself, with no call on its way in libvirtd meanwhile.
Kind = Literal["storage", "monitor", "evidence", "guest", "events"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TokenKind = Literal["stats", "guest"]
R = TypeVar("R")


class Operation(Generic[R]):
    """One thing a lane can be asked.

    ``token``: the call can wait on a QEMU or a guest, and needs a token of this kind.
    ``repeatable``: asking again after the lane died in the middle does no harm.
    """

    __slots__ = ("_decode", "arguments", "kind", "name", "repeatable", "result", "token")

    def __init__(
        self,
        kind: Kind,
        name: str,
        arguments: Any,
        result: Any,
        *,
        token: TokenKind | None = None,
        repeatable: bool = True,
    ) -> None:
        self.kind = kind
        self.name = name
        self.arguments = arguments
        self.result = result
        self.token = token
        self.repeatable = repeatable
        self._decode: Callable[[msgspec.Raw], R] | None = None

    def decode(self, result: msgspec.Raw) -> R:
        """The result that was encoded.

        :raises msgspec.MsgspecError: when it is not of the promised type.
        """
        if self._decode is None:
            self._decode = msgspec.msgpack.Decoder(self.result).decode
        return self._decode(result)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


# --- storage ------------------------------------------------------------------------------------

MOUNTS: Operation[list[Mount]] = Operation("storage", "mounts", tuple[()], list[Mount])

#: QEMU processes by domain UUID
PROCESSES: Operation[dict[str, Process]] = Operation(
    "storage", "processes", tuple[()], dict[str, Process]
)

#: (layers, the QEMU that uses them, path map)
PROBE_LAYERS: Operation[list[LayerFacts]] = Operation(
    "storage",
    "probe_layers",
    tuple[list[Layer], Process | None, list[tuple[str, str]]],
    list[LayerFacts],
)

#: (layers with the QEMU that uses each, path map)
SIGNATURES: Operation[list[Signature | None]] = Operation(
    "storage",
    "signatures",
    tuple[list[tuple[Layer, Process | None]], list[tuple[str, str]]],
    list[Signature | None],
)

#: (names of domains with the QEMU of each)
STATUS_FILES: Operation[list[Signature | None]] = Operation(
    "storage", "status_files", tuple[list[tuple[str, Process]]], list[Signature | None]
)

#: (path)
FILESYSTEM: Operation[StorageFacts] = Operation("storage", "filesystem", tuple[str], StorageFacts)

#: (path, UUIDs of the known domains)
INSTANCES_DIRECTORY: Operation[InstancesDirectory] = Operation(
    "storage", "instances_directory", tuple[str, frozenset[str]], InstancesDirectory
)

#: (path); bytes, None when it cannot be read
MANAGED_SAVE: Operation[int | None] = Operation("storage", "managed_save", tuple[str], int | None)

# --- monitor ------------------------------------------------------------------------------------

HOST_INFO: Operation[HostInfo] = Operation("monitor", "host_info", tuple[()], HostInfo)

#: every domain with its state
LIST_STATES: Operation[list[Listed]] = Operation("monitor", "list_states", tuple[()], list[Listed])

#: (uuid)
DESCRIBE: Operation[Domain] = Operation("monitor", "describe", tuple[str], Domain)

#: (UUIDs); the digest of each description, None where it is not to be had now
DIGESTS: Operation[list[bytes | None]] = Operation(
    "monitor", "digests", tuple[list[str]], list[bytes | None]
)

#: (uuid, the process it is expected to be); None when no such QEMU runs
CONTROL: Operation[Control | None] = Operation(
    "monitor", "control", tuple[str, Process | None], Control | None
)

#: ((uuid, its process) of some domains); by uuid
BLOCK_STATS: Operation[dict[str, StatsAnswer]] = Operation(
    "evidence",
    "block_stats",
    tuple[list[tuple[str, Process]]],
    dict[str, StatsAnswer],
    token="stats",
)

#: (uuid, target, its process)
BLOCK_INFO: Operation[BlockInfo] = Operation(
    "evidence", "block_info", tuple[str, str, Process], BlockInfo, token="stats"
)

# --- guest --------------------------------------------------------------------------------------

#: (uuid, command as JSON, timeout in seconds); the reply as JSON
AGENT: Operation[bytes] = Operation(
    "guest", "agent", tuple[str, str, int], bytes, token="guest", repeatable=False
)

# --- events -------------------------------------------------------------------------------------

#: (seconds to wait for one); a failed one is told, since events may have been lost with it
EVENTS: Operation[Events] = Operation("events", "events", tuple[float], Events, repeatable=False)

ALL: tuple[Operation[Any], ...] = (
    MOUNTS,
    PROCESSES,
    PROBE_LAYERS,
    SIGNATURES,
    STATUS_FILES,
    FILESYSTEM,
    INSTANCES_DIRECTORY,
    MANAGED_SAVE,
    HOST_INFO,
    LIST_STATES,
    DESCRIBE,
    DIGESTS,
    CONTROL,
    BLOCK_STATS,
    BLOCK_INFO,
    AGENT,
    EVENTS,
)

# SPDX-License-Identifier: Apache-2.0
"""A nursery whose lanes do what their first argument says. Started as a child, by path."""

from __future__ import annotations

import os
import pathlib
import sys
import time
from typing import Any

from nova_diskaudit.facts import Control, StatsAnswer, StorageFacts
from nova_diskaudit.host.errors import HostError
from nova_diskaudit.lane import forker, worker


def obey(word: str, *_: Any) -> Any:
    """``until:PATH`` returns once the file exists; others do as they are called."""
    verb, _, rest = word.partition(":")
    if verb == "until":
        pathlib.Path(rest + ".begun").touch()
        while not os.path.exists(rest):
            time.sleep(0.005)
    elif verb == "sleep":
        time.sleep(float(rest))
    elif verb == "die":
        os._exit(3)
    elif verb == "die-once" and not os.path.exists(rest):
        pathlib.Path(rest).touch()
        os._exit(3)
    elif verb == "refuse":
        raise HostError(rest, "because")
    elif verb == "bug":
        raise TypeError("a fault of ours")
    elif verb == "garbage":
        os.write(3, b"\xff" * 100)
        time.sleep(600)
    elif verb == "wrong-type":
        return ["not", "the", "promised", "type"]
    return None


def filesystem(word: str) -> Any:
    wrong = obey(word)
    if wrong is not None:
        return wrong
    size = int(word.removeprefix("size:")) if word.startswith("size:") else 0
    return StorageFacts(
        identity=str(os.getpid()),
        kind="x" * size,
        path=os.getcwd(),
        fs_type=None,
        total_bytes=None,
        free_bytes=None,
        inodes_free=None,
    )


def block_stats(members: list[tuple[str, Any]]) -> Any:
    for uuid, _ in members:
        obey(uuid)
    return {uuid: StatsAnswer(disks={}) for uuid, _ in members}


def control(uuid: str, process: Any) -> Any:
    """Busy while ``PATH.busy`` exists, for as many milliseconds as it says."""
    busy = pathlib.Path(uuid.partition(":")[2] + ".busy")
    if not busy.exists():
        return None
    return Control(state="busy", milliseconds=int(busy.read_text() or "10000000"))


def agent(uuid: str, command: str, timeout: int) -> bytes:
    obey(uuid)
    return command.encode()


def bindings(kind: str, uri: str) -> dict[str, Any]:
    if uri == "no-libvirt":
        raise ImportError("No module named 'libvirt'")
    return {
        "storage": {"filesystem": filesystem},
        "monitor": {"control": control},
        "evidence": {"block_stats": block_stats},
        "guest": {"agent": agent},
    }[kind]


worker.bindings = bindings
forker.main(sys.argv[1])

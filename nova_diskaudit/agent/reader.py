# SPDX-License-Identifier: Apache-2.0
"""What a running agent says on its local socket, and how it is read.

Everything that shows the agent's answer uses this, so it imports nothing that is slow to start.
"""

from __future__ import annotations

import pathlib
import socket
import time

import msgspec

from nova_diskaudit.health import AgentStatus
from nova_diskaudit.record import HostReport

SOCKET_NAME = "agent.sock"
#: sun_path has 108 bytes with its final NUL (unix(7))
MOST_PATH_BYTES = 107
_MOST_BYTES = 512 * 2**20
_SECONDS = 30.0


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The one JSON object of the socket; no ``report`` before the end of the first cycle."""

    report: HostReport | None
    agent: AgentStatus


class AgentUnreachable(Exception):
    """The agent did not say anything of use; the message is one line that says why."""


def read(path: pathlib.Path, *, seconds: float = _SECONDS, most_bytes: int = _MOST_BYTES) -> Shown:
    """Ask the agent whose socket is at ``path``, for at most so many seconds.

    :raises AgentUnreachable: always, when there is no whole answer.
    """
    try:
        data = _receive(path, time.monotonic() + seconds, most_bytes)
    except (FileNotFoundError, NotADirectoryError):
        raise AgentUnreachable(
            f"no agent: there is no {path}; is nova-diskaudit-agent running, with this state_path?"
        ) from None
    except ConnectionRefusedError:
        raise AgentUnreachable(
            f"no agent: nobody listens on {path}; was nova-diskaudit-agent killed?"
        ) from None
    except PermissionError:
        raise AgentUnreachable(
            f"not permitted to read {path}: be root or in its group ([exporter] socket_group)"
        ) from None
    except TimeoutError:
        raise AgentUnreachable(
            f"the agent on {path} did not answer in full within {seconds:g} s"
        ) from None
    except OSError as error:
        raise AgentUnreachable(f"cannot read {path}: {error.strerror or error}") from None
    try:
        return msgspec.json.decode(data, type=Shown)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AgentUnreachable(
            f"not understood what {path} said ({len(data)} bytes): {error}; is the agent of "
            "another release, or was it just stopped?"
        ) from None


def _receive(path: pathlib.Path, until: float, most_bytes: int) -> bytes:
    # The length is told before the kernel's own words, which do not tell what to do.
    if len(str(path).encode("utf-8", "surrogateescape")) > MOST_PATH_BYTES:
        raise AgentUnreachable(
            f"the path of the socket is longer than {MOST_PATH_BYTES} bytes: {path}"
        )
    data = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_left(until))
        connection.connect(str(path))
        while True:
            connection.settimeout(_left(until))
            piece = connection.recv(2**20)
            if not piece:
                return bytes(data)
            data += piece
            if len(data) > most_bytes:
                raise AgentUnreachable(f"{path} said more than {most_bytes} bytes")


def _left(until: float) -> float:
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds

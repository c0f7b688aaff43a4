# SPDX-License-Identifier: Apache-2.0
"""The local socket: whoever may connect gets the newest report and the agent's state, as JSON.

No request is read, so there is nothing to parse and nobody to trust.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import logging
import os
import pathlib
import socket
import stat
from collections.abc import Callable

from nova_diskaudit.agent import serving
from nova_diskaudit.agent.reader import MOST_PATH_BYTES, Shown
from nova_diskaudit.conf import ConfigurationError
from nova_diskaudit.health import AgentStatus
from nova_diskaudit.record import HostReport
from nova_diskaudit.render import as_json

LOG = logging.getLogger(__name__)

_MODE = 0o660
_MOST_CLIENTS = 8
_CLIENT_SECONDS = 30.0


def document(report: HostReport | None, agent: AgentStatus) -> bytes:
    """What the socket says; ``report`` is exactly what ``audit --format json`` prints."""
    return as_json.render(Shown(report=report, agent=agent)).encode()


class LocalSocket:
    """The socket at ``path``; ``content`` makes what each client gets.

    :param group: who may read it besides the owner; None: the group of this process.
    """

    def __init__(
        self, path: pathlib.Path, content: Callable[[], bytes], *, group: str | None = None
    ) -> None:
        self._path = path
        self._content = content
        self._group = group
        self._server: serving.Server | None = None
        self._inode: int | None = None

    def start(self) -> None:
        """Serve from now on.

        :raises ConfigurationError: when the socket cannot be made, or another agent has it.
        """
        group = _group_id(self._group)
        # Made under another name, so that nobody meets it before its mode and group are right.
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        if len(os.fsencode(fresh)) > MOST_PATH_BYTES:
            raise ConfigurationError(
                f"[agent] state_path is too long for a socket in it: {fresh} has more than "
                f"{MOST_PATH_BYTES} bytes"
            )
        _refuse_a_second_agent(self._path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            fresh.unlink(missing_ok=True)
            listening.bind(str(fresh))
            os.chmod(fresh, _MODE)
            if group is not None:
                os.chown(fresh, -1, group)
            self._inode = os.stat(fresh).st_ino
            self._server = serving.Server(
                "local socket",
                listening,
                lambda client, until: serving.send_all(client, self._content(), until),
                most_clients=_MOST_CLIENTS,
                seconds=_CLIENT_SECONDS,
            )
            os.rename(fresh, self._path)
        except OSError as error:
            if self._server is not None:
                self._server.close()
            listening.close()
            with contextlib.suppress(OSError):
                fresh.unlink()
            hint = ""
            if group is not None and error.errno == errno.EPERM:
                hint = f" (only root or a member can give it to the group {self._group})"
            raise ConfigurationError(
                f"cannot make the socket {self._path}: {error.strerror}{hint}"
            ) from error
        LOG.info("Local socket: %s", self._path)

    def close(self) -> None:
        """Serve no more; the file goes too, unless another agent has put its own there."""
        if self._server is None:
            return
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:
                self._path.unlink()
        self._server.close()
        self._server = None


def _refuse_a_second_agent(path: pathlib.Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"cannot look at {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(f"{path} is there and is no socket; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return  # left behind by an agent that was killed
        except FileNotFoundError:
            return
        except OSError as error:
            # A full queue is that of somebody who listens.
            reason = error.strerror or "no answer"
            raise ConfigurationError(
                f"{path} seems to belong to another agent ({reason}); each needs a state_path "
                "of its own"
            ) from error
    raise ConfigurationError(
        f"another agent listens on {path}; stop it, or give this one a state_path of its own"
    )


def _group_id(name: str | None) -> int | None:
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigurationError(f"[exporter] socket_group: there is no group {name!r}") from None

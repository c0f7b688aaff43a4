# SPDX-License-Identifier: Apache-2.0
"""A lane's own connection to libvirt, opened when first needed. Runs in the child only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libvirt

from nova_diskaudit.lane.errors import LaneRefused

_DENIED = frozenset(
    {
        libvirt.VIR_ERR_OPERATION_DENIED,
        libvirt.VIR_ERR_ACCESS_DENIED,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    }
)


class Connection:
    """Opens the connection, and opens it again after the daemon went away."""

    def __init__(self, uri: str, *, read_only: bool) -> None:
        # libvirt would print every error on stderr.
        libvirt.registerErrorHandler(lambda context, error: None, None)
        self._uri = uri
        self._read_only = read_only
        self._connection: libvirt.virConnect | None = None

    def bind(self, function: Callable[..., Any], *, repeatable: bool) -> Callable[..., Any]:
        """``function`` with the connection as its first argument.

        When the daemon went away since the last call, it is asked once more over a new
        connection; one that may not be repeated is then an error.
        """

        def call(*args: Any) -> Any:
            fresh = self._connection is None
            try:
                return function(self._open(), *args)
            except LaneRefused:
                raise
            except Exception as error:
                if self._is_alive():
                    raise
                self._connection = None
                if fresh or not repeatable:
                    why = getattr(error, "detail", error)
                    raise LaneRefused("no-connection", f"libvirt hung up: {why}") from None
            return function(self._open(), *args)

        return call

    def _open(self) -> libvirt.virConnect:
        if self._connection is None:
            opener = libvirt.openReadOnly if self._read_only else libvirt.open
            try:
                self._connection = opener(self._uri)
            except libvirt.libvirtError as error:
                raise self._refusal(error) from None
        return self._connection

    def _refusal(self, error: libvirt.libvirtError) -> LaneRefused:
        text = " ".join((error.get_error_message() or "unknown error").split())[:500]
        denied = error.get_error_code() in _DENIED or "Permission denied" in text
        # Without a read-write connection only the guests' part is missing.
        code = "guest-not-permitted" if denied and not self._read_only else "no-connection"
        return LaneRefused(code, f"{self._uri}: {text}")

    def _is_alive(self) -> bool:
        # This looks at the socket's state in this process and asks nobody.
        try:
            return self._connection is not None and self._connection.isAlive() == 1
        except libvirt.libvirtError:
            return False

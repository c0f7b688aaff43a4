# SPDX-License-Identifier: Apache-2.0
"""Answers to whoever connects, so that no client can hold threads or memory for long.

At most so many clients are served at once, each for so many seconds in all, however slowly it
reads or writes; the others wait in the kernel's queue, whose length is bounded too.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable

LOG = logging.getLogger(__name__)

_BACKLOG = 32
_CLOSE_SECONDS = 1.0
# After an error that may last, such as no free file descriptor.
_PAUSE_SECONDS = 1.0


class Server:
    """Serves the clients of one listening socket, which it closes at the end.

    :param answer: is given a connected socket and the time (of ``time.monotonic``) by which it
        has to be done; raises :class:`OSError` when the client is too slow or gone.
    """

    def __init__(
        self,
        name: str,
        listening: socket.socket,
        answer: Callable[[socket.socket, float], None],
        *,
        most_clients: int,
        seconds: float,
    ) -> None:
        self._name = name
        self._listening = listening
        self._answer = answer
        self._seconds = seconds
        self._room = threading.Semaphore(most_clients)
        self._mutex = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._stop = threading.Event()
        listening.listen(_BACKLOG)
        self._thread = threading.Thread(target=self._accept, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up on everybody."""
        self._stop.set()
        self._room.release()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes up accept()
        with self._mutex:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
        self._thread.join(_CLOSE_SECONDS)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            self._room.acquire()
            if self._stop.is_set():
                return
            try:
                client, _ = self._listening.accept()
            except OSError as error:
                self._room.release()
                if self._stop.is_set():
                    return
                LOG.warning("%s cannot take a client: %s", self._name, error)
                self._stop.wait(_PAUSE_SECONDS)
                continue
            with self._mutex:
                self._clients.add(client)
            try:
                threading.Thread(
                    target=self._serve, args=(client,), name=f"{self._name} client", daemon=True
                ).start()
            except RuntimeError as error:  # no room for a thread
                LOG.warning("%s cannot serve a client: %s", self._name, error)
                self._leave(client)
                self._stop.wait(_PAUSE_SECONDS)

    def _serve(self, client: socket.socket) -> None:
        try:
            self._answer(client, time.monotonic() + self._seconds)
        except OSError as error:
            LOG.debug("%s: a client was lost: %s", self._name, error)
        except Exception:
            LOG.exception("%s: no answer to a client, by a defect of ours", self._name)
        finally:
            self._leave(client)

    def _leave(self, client: socket.socket) -> None:
        with self._mutex:
            self._clients.discard(client)
        client.close()
        self._room.release()


def remaining(until: float) -> float:
    """Seconds until ``until``.

    :raises TimeoutError: when there are none left.
    """
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("too slow")
    return seconds


def send_all(client: socket.socket, data: bytes, until: float) -> None:
    """Send all of it by then; :class:`OSError` otherwise."""
    view = memoryview(data)
    while view:
        client.settimeout(remaining(until))
        view = view[client.send(view) :]

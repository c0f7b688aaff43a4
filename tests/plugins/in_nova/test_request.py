# SPDX-License-Identifier: Apache-2.0
"""What a request of Nova's costs beside processor time: nothing."""

from __future__ import annotations

import os
import sys
import threading
import time

import nova.conf

from nova_diskaudit.scheduler import keeper
from nova_diskaudit.scheduler.snapshot import Snapshot

from .conftest import Plugins, host, reading, request

_WATCHED = ("open", "os.", "shutil.", "socket.", "sqlite3.", "subprocess.")


def test_a_request_opens_no_file_and_no_socket() -> None:
    """By Python's own audit events, with the keeper and its thread as in life."""
    plugins, here = Plugins(), threading.get_ident()
    hosts = [host("known"), host("full"), host("stranger")]
    happened: list[str] = []
    watching = True

    def note(event: str, _: object) -> None:
        if watching and threading.get_ident() == here and event.startswith(_WATCHED):
            happened.append(event)

    sys.addaudithook(note)
    try:
        # The first of a process, which starts the thread, and one that finds something.
        assert plugins.filtered(hosts) == ["known", "full", "stranger"]
        known = {"known": reading(9), "full": reading(1, is_full=True)}
        keeper.of(nova.conf.CONF)._snapshot = Snapshot(known, {"q": time.monotonic() + 1000})
        assert plugins.filtered(hosts) == ["known", "stranger"]
        assert plugins.filtered(hosts, request(project_id="q")) == []
        assert plugins.weighed(hosts) == ["known", "stranger", "full"]
        assert happened == []
        with open(os.devnull):
            assert happened == ["open"]
    finally:
        watching = False

# SPDX-License-Identifier: Apache-2.0
"""The agent's own directory, socket, endpoint and text file; the clock."""

from __future__ import annotations

import datetime
import os
import pathlib
import socket
import sqlite3
import urllib.request
from collections.abc import Iterator

from oslo_config import cfg

from nova_diskaudit.agent import reader
from nova_diskaudit.agent.exporter import parse_listen
from nova_diskaudit.conf import ConfigurationError
from nova_diskaudit.doctor.check import Check

_SECONDS = 5.0
_LITTLE_BYTES = 256 * 2**20
_REMOTE = ("nfs", "cifs", "smb", "ceph", "fuse", "glusterfs", "9p", "afs")
# A clock before this release of ours is wrong.
_BUILT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def examine(conf: cfg.ConfigOpts) -> Iterator[Check]:
    """The checks of this file."""
    path = pathlib.Path(conf.agent.state_path)
    yield from _directory(path)
    yield _database(path / "agent.sqlite")
    agent = _socket(path / reader.SOCKET_NAME)
    yield agent
    yield _exporter(conf.exporter.listen, agent_runs=agent.outcome in ("ok", "warning"))
    yield _textfile(conf.exporter.textfile)
    now = datetime.datetime.now(datetime.UTC)
    yield Check(
        name="clock",
        outcome="ok" if now > _BUILT else "error",
        detail=now.isoformat(timespec="seconds"),
        action="" if now > _BUILT else "set the clock, and keep it by NTP",
    )


def _directory(path: pathlib.Path) -> Iterator[Check]:
    name = "state_path"
    try:
        owner, space = path.stat().st_uid, os.statvfs(path)
    except OSError as error:
        yield Check(
            name=name,
            outcome="error",
            detail=f"{path}: {error.strerror}",
            action="systemd makes it (StateDirectory=); else: install -d -m 0750 it",
        )
        return
    free = space.f_bavail * space.f_frsize
    problems = []
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        problems.append("not a directory this user can write")
    if owner != os.geteuid():
        problems.append(f"belongs to user {owner}, this is {os.geteuid()}")
    if free < _LITTLE_BYTES:
        problems.append("little room")
    kind = _filesystem(path)
    if kind.startswith(_REMOTE):
        problems.append(f"{kind} is no local filesystem, and SQLite needs one")
    yield Check(
        name=name,
        outcome="warning" if problems else "ok",
        detail=f"{path} on {kind}, {free} bytes free" + "".join(f"; {one}" for one in problems),
        action="run the doctor as the agent's user; give it a local directory" if problems else "",
    )


def _filesystem(path: pathlib.Path) -> str:
    """Type of the mount that ``path`` lies on; ``unknown`` when the kernel does not tell."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = pathlib.Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return "unknown"
    kinds = [line.partition(" - ")[2].split() for line in lines if line.split()[2] == wanted]
    return kinds[-1][0] if kinds and kinds[-1] else "unknown"


def _database(path: pathlib.Path) -> Check:
    name = "spool"
    if not path.exists():
        return Check(name=name, outcome="skipped", detail=f"there is no {path} yet")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
        try:
            answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        answer = str(error)
    return Check(
        name=name,
        outcome="ok" if answer == "ok" else "error",
        detail=f"{path}: {answer}",
        action="" if answer == "ok" else "stop the agent, move the file away, start it again",
    )


def _socket(path: pathlib.Path) -> Check:
    name = "agent"
    try:
        shown = reader.read(path, seconds=_SECONDS)
    except reader.AgentUnreachable as error:
        return Check(
            name=name,
            outcome="skipped" if not path.exists() else "error",
            detail=str(error),
            action="systemctl status nova-diskaudit-agent",
        )
    cycle = shown.agent.cycle
    well = cycle.failed is None and shown.report is not None
    return Check(
        name=name,
        outcome="ok" if well else "warning",
        detail=f"process {shown.agent.pid}, cycle {cycle.number}, "
        f"{len(shown.agent.quarantine)} left alone" + (f": {cycle.failed}" if cycle.failed else ""),
        action="" if well else "see its log: journalctl -u nova-diskaudit-agent",
    )


def _exporter(listen: str, *, agent_runs: bool) -> Check:
    name = "exporter"
    try:
        place = parse_listen(listen)
    except ConfigurationError as error:
        return Check(name=name, outcome="error", detail=str(error), action="correct it")
    if place is None:
        return Check(name=name, outcome="skipped", detail="[exporter] listen is empty")
    action = "give [exporter] listen an address of this host and a free port"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            *place, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        if _is_ours(listen):
            return Check(name=name, outcome="ok", detail=f"{listen} is served by an agent")
        return Check(name=name, outcome="error", detail=f"{listen}: {error}", action=action)
    if agent_runs:
        return Check(
            name=name,
            outcome="warning",
            detail=f"{listen} is free although an agent runs",
            action="restart the agent, if [exporter] listen was changed",
        )
    return Check(name=name, outcome="ok", detail=f"{listen} is free")


def _is_ours(listen: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{listen}/", timeout=_SECONDS) as answer:
            return bytes(answer.read(64)).startswith(b"nova-diskaudit agent")
    except (OSError, ValueError):
        return False
    except Exception:  # http.client's own: whoever that is, it is not ours
        return False


def _textfile(path: str | None) -> Check:
    name = "text file"
    if not path:
        return Check(name=name, outcome="skipped", detail="[exporter] textfile is not set")
    directory = pathlib.Path(path).parent
    fits = pathlib.Path(path).is_absolute() and path.endswith(".prom")
    well = fits and directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)
    return Check(
        name=name,
        outcome="ok" if well else "error",
        detail=path,
        action="" if well else f"{directory} must be a writable directory, the name end in .prom",
    )

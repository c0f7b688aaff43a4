# SPDX-License-Identifier: Apache-2.0
"""What the recording server keeps, in one SQLite file that survives its death.

The chain is recorded in the same transaction that moves the host's row, so it is exactly what was
accepted. :func:`problems` holds it against the rules.
"""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import sqlite3
import threading
import uuid
from collections.abc import Iterator

import msgspec

from nova_diskaudit import protocol


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted report; or a demand of a full one, which has no agent."""

    seq: int
    host: str
    id: str
    replaces: str | None
    kind: str
    agent: str | None
    as_of: datetime.datetime | None
    received_at: datetime.datetime
    instances: int


class Ledger:
    """Thread-safe, by one connection and one lock."""

    def __init__(self, path: pathlib.Path) -> None:
        self._mutex = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS host (name TEXT PRIMARY KEY, report_id TEXT NOT NULL,"
            " agent TEXT, received_at TEXT NOT NULL, state BLOB)"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS link (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
            " host TEXT NOT NULL, id TEXT NOT NULL, link BLOB NOT NULL)"
        )

    def close(self) -> None:
        with self._mutex:
            self._db.close()

    def put(
        self, report: protocol.Report, now: datetime.datetime, takeover_after_seconds: float
    ) -> protocol.Judgement:
        """R4, in one transaction."""
        with self._transaction():
            row, base = self._row(report.host)
            judgement = protocol.judge(
                row, report, now=now, takeover_after_seconds=takeover_after_seconds
            )
            if isinstance(judgement, protocol.Accepted):
                state = protocol.apply(base, report)
                kept = msgspec.structs.replace(state, as_of=protocol.stored_as_of(report, now))
                self._move(report.host, report.id, report.agent, now, kept)
                self._record(
                    Link(
                        seq=0,
                        host=report.host,
                        id=report.id,
                        replaces=report.replaces,
                        kind=report.kind,
                        agent=report.agent,
                        as_of=report.as_of,
                        received_at=now,
                        instances=len(state.instances),
                    )
                )
            return judgement

    def demand(self, host: str, now: datetime.datetime) -> None:
        """R9: a full report is wanted, as after the restore of a database."""
        with self._transaction():
            row, base = self._row(host)
            assert row is not None
            fresh = str(uuid.uuid4())
            self._move(host, fresh, row.agent, row.received_at, base)
            self._record(
                Link(
                    seq=0,
                    host=host,
                    id=fresh,
                    replaces=row.report_id,
                    kind="demand",
                    agent=None,
                    as_of=None,
                    received_at=now,
                    instances=0,
                )
            )

    def row(self, host: str) -> protocol.Row | None:
        with self._transaction():
            return self._row(host)[0]

    def state(self, host: str) -> protocol.State | None:
        with self._transaction():
            return self._row(host)[1]

    def hosts(self) -> list[str]:
        with self._transaction():
            return [name for (name,) in self._db.execute("SELECT name FROM host ORDER BY name")]

    def links(self) -> list[Link]:
        """All that was accepted, in its order."""
        with self._transaction():
            rows = self._db.execute("SELECT seq, link FROM link ORDER BY seq").fetchall()
        return [
            msgspec.structs.replace(msgspec.json.decode(link, type=Link), seq=seq)
            for seq, link in rows
        ]

    def _row(self, host: str) -> tuple[protocol.Row | None, protocol.State | None]:
        found = self._db.execute(
            "SELECT report_id, agent, received_at, state FROM host WHERE name = ?", (host,)
        ).fetchone()
        if found is None:
            return None, None
        report_id, agent, received_at, state = found
        return (
            protocol.Row(
                report_id=report_id,
                agent=agent,
                received_at=datetime.datetime.fromisoformat(received_at),
            ),
            msgspec.json.decode(state, type=protocol.State) if state is not None else None,
        )

    def _move(
        self,
        host: str,
        id: str,
        agent: str | None,
        received_at: datetime.datetime,
        state: protocol.State | None,
    ) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO host VALUES (?, ?, ?, ?, ?)",
            (host, id, agent, received_at.isoformat(), msgspec.json.encode(state)),
        )

    def _record(self, link: Link) -> None:
        self._db.execute(
            "INSERT INTO link (host, id, link) VALUES (?, ?, ?)",
            (link.host, link.id, msgspec.json.encode(link)),
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._mutex:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise


def problems(links: list[Link]) -> list[str]:
    """What is wrong with a chain; nothing when it is linear, unique, and never goes back.

    One thing is allowed, and told in ``doc/source/protocol.rst``: once another agent (or a demand)
    came between, what an agent had sent before may be accepted again. The rule cannot know it for
    a replay, since what it replaces may be current again. The agent's newest follows.
    """
    found = []
    current: dict[str, Link] = {}
    last: dict[tuple[str, str | None], Link] = {}
    accepted: dict[tuple[str, str | None, str], int] = {}
    foreign: dict[tuple[str, str | None], int] = {}
    ids: set[str] = set()
    for place, link in enumerate(links):
        name = f"link {link.seq} ({link.kind} {link.id} of {link.host})"
        whose = (link.host, link.agent)
        stood, before = current.get(link.host), last.get(whose)
        if stood is not None and stood.agent != link.agent:
            foreign[whose] = place
        if link.replaces != (stood.id if stood is not None else None):
            found.append(f"{name}: replaces {link.replaces}, and another stood")
        again = accepted.get((*whose, link.id), place) < foreign.get(whose, -1)
        if link.id in ids and not again:
            found.append(f"{name}: the id occurs twice")
        if before is not None and not again and _is_older(link, before):
            found.append(f"{name}: as_of {link.as_of} is older than {before.as_of}")
        ids.add(link.id)
        accepted.setdefault((*whose, link.id), place)
        current[link.host] = last[whose] = link
    return found


def _is_older(link: Link, before: Link) -> bool:
    return link.as_of is not None and before.as_of is not None and link.as_of < before.as_of

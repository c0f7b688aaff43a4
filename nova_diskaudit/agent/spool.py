# SPDX-License-Identifier: Apache-2.0
"""States that wait for the central service, in ``state_path/agent.sqlite``.

A state is committed here before it is first sent, and leaves with the commit of its
acknowledgement; a kill at any moment lies before or after one of the two. Every row is a whole
state, so any but the newest can be dropped without harm to the newest.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import logging
import os
import pathlib
import sqlite3
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from nova_diskaudit import protocol
from nova_diskaudit.agent.status import SpoolStatus

LOG = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Pending states that are never thinned.
KEPT_WHOLE = 12

_VERSION = 1
_MOST_REJECTED = 10
_MOST_SET_ASIDE = 3
_MAX_UNPACKED_BYTES = 64 * 2**20
# The log keeps its blocks between checkpoints: an acknowledgement, which makes room, is written
# into them even when the disk is full.
_WAL_BYTES = 8 * 2**20


class SpoolError(Exception):
    """The spool cannot be written now; the message is one line."""


class SpoolHeld(SpoolError):
    """Another agent uses this directory."""


class Spool:
    """Pending states, oldest first; thread-safe.

    :param max_age_seconds: of a pending state, by its ``as_of``.
    :param max_bytes: of all pending states, as they are stored.
    :param now: the time, for what is too old.
    :raises SpoolHeld: when another agent uses the directory.
    :raises SpoolError: when nothing can be opened there.
    """

    def __init__(
        self,
        state_path: pathlib.Path,
        *,
        max_age_seconds: float = 7 * 86400,
        max_bytes: int = 64 * 2**20,
        now: Callable[[], datetime.datetime] | None = None,
    ) -> None:
        self._directory = state_path
        self._path = state_path / "agent.sqlite"
        self._max_age = datetime.timedelta(seconds=max_age_seconds)
        self._max_bytes = max_bytes
        self._now = now or (lambda: datetime.datetime.now(datetime.UTC))
        self._mutex = threading.RLock()
        self._unwritten: protocol.State | None = None
        self._problem: str | None = None
        self._lost_in_memory = 0
        self._in_flight: str | None = None
        self._lock = _lock(state_path / "agent.lock")
        self._db: sqlite3.Connection | None = None
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            os.close(self._lock)
            raise SpoolError(f"{self._path}: {error}") from error

    @property
    def agent(self) -> str:
        """The UUID that this spool's agent goes by; a new file has a new one."""
        with self._mutex:
            return self._agent

    def limit(self, *, max_age_seconds: float, max_bytes: int) -> None:
        """Other bounds, from the next state on."""
        with self._mutex:
            self._max_age = datetime.timedelta(seconds=max_age_seconds)
            self._max_bytes = max_bytes

    def append(self, state: protocol.State) -> None:
        """Keep a new state. What cannot be written stays in memory until it can."""
        with self._mutex:
            self._flush()
            if self._unwritten is not None:
                self._lost_in_memory += 1
            self._unwritten = state
            self._flush()

    def oldest(self) -> protocol.State | None:
        """The pending state that is to be sent next; None when all are acknowledged.

        It stays where it is, unthinned, until it is acknowledged or rejected.
        """
        with self._mutex:
            self._flush()
            while True:
                row = self._guarded(
                    lambda db: db.execute(
                        "SELECT id, body FROM state WHERE id IS NOT"
                        " (SELECT value FROM meta WHERE key = 'acked') ORDER BY seq LIMIT 1"
                    ).fetchone()
                )
                if row is None:
                    self._in_flight = None
                    return None
                state = _unpack(row[1])
                if state is not None:
                    self._in_flight = state.id
                    return state
                self._set_aside("a row that is not a state")

    def acked(self) -> protocol.State | None:
        """The state that was acknowledged last, the base of a delta; None when there is none."""
        with self._mutex:
            row = self._guarded(
                lambda db: db.execute(
                    "SELECT body FROM state WHERE id = (SELECT value FROM meta WHERE key = 'acked')"
                ).fetchone()
            )
            return _unpack(row[0]) if row is not None else None

    def acknowledge(self, id: str) -> None:
        """The service has this state.

        :raises SpoolError: when that could not be committed; the state is to be sent again.
        """

        def commit(db: sqlite3.Connection) -> None:
            db.execute(
                "DELETE FROM state WHERE id = (SELECT value FROM meta WHERE key = 'acked')"
                " AND id != ?",
                (id,),
            )
            db.execute("INSERT OR REPLACE INTO meta VALUES ('acked', ?)", (id,))

        with self._mutex:
            self._write(commit)
            self._in_flight = None
            self._shrink()
            self._flush()

    def reject(self, id: str, why: str, body: bytes) -> None:
        """The service will never take this state: keep it for people, and go on.

        :raises SpoolError: when that could not be committed.
        """

        def commit(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM state WHERE id = ?", (id,))
            _count(db, "rejected", 1)

        with self._mutex:
            try:
                self._keep_rejected(id, why, body)
            except OSError as error:
                LOG.warning("The rejected report %s could not be kept: %s", id, error)
            self._write(commit)
            self._in_flight = None
            self._flush()

    def status(self) -> SpoolStatus:
        """How much waits, and what was lost."""
        with self._mutex:
            found = self._guarded(
                lambda db: db.execute(
                    "SELECT count(*), coalesce(sum(length(body)), 0), min(as_of) FROM state"
                    " WHERE id IS NOT (SELECT value FROM meta WHERE key = 'acked')"
                ).fetchone()
            )
            depth, size, oldest = found if found is not None else (0, 0, None)
            counts = dict(
                self._guarded(
                    lambda db: db.execute(
                        "SELECT key, value FROM meta WHERE key IN"
                        " ('dropped', 'thinned', 'rejected')"
                    ).fetchall()
                )
                or ()
            )
            if self._unwritten is not None:
                depth += 1
                oldest = min(
                    oldest or self._unwritten.as_of.timestamp(), self._unwritten.as_of.timestamp()
                )
            return SpoolStatus(
                depth=depth,
                bytes=size,
                oldest_as_of=(
                    datetime.datetime.fromtimestamp(oldest, datetime.UTC)
                    if oldest is not None
                    else None
                ),
                dropped=int(counts.get("dropped", 0)) + self._lost_in_memory,
                thinned=int(counts.get("thinned", 0)),
                rejected=int(counts.get("rejected", 0)),
                in_memory=self._unwritten is not None,
                problem=self._problem,
            )

    def close(self) -> None:
        """Close the file; nothing is lost by not doing so."""
        with self._mutex:
            if self._db is not None:
                self._db.close()
                self._db = None
            os.close(self._lock)

    # --- the file -----------------------------------------------------------------------------

    def _open(self) -> None:
        """Open the file, or a new one beside what cannot be read."""
        for last in (False, True):
            try:
                self._connect()
                return
            except sqlite3.DatabaseError as error:
                if last or isinstance(error, sqlite3.OperationalError):
                    raise
                self._set_aside_files(str(error))

    def _connect(self) -> None:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5)
        try:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            db.execute("PRAGMA cache_size = -1024")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError(f"version {version}, not {_VERSION}")
            with _transaction(db):
                db.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value)")
                db.execute(
                    "CREATE TABLE IF NOT EXISTS state (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
                    " id TEXT UNIQUE NOT NULL, as_of REAL NOT NULL, body BLOB NOT NULL)"
                )
                db.execute("INSERT OR IGNORE INTO meta VALUES ('agent', ?)", (str(uuid.uuid4()),))
                db.execute(f"PRAGMA user_version = {_VERSION}")
            check = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if check != "ok":
                raise sqlite3.DatabaseError(check)
            agent = db.execute("SELECT value FROM meta WHERE key = 'agent'").fetchone()[0]
            self._agent = str(uuid.UUID(agent))
        except ValueError as error:
            db.close()
            raise sqlite3.DatabaseError(str(error)) from None
        except BaseException:
            db.close()
            raise
        self._db = db

    def _guarded(self, question: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """An answer of the database; None when it cannot be read now."""
        try:
            if self._db is None:
                self._open()
            assert self._db is not None
            return question(self._db)
        except (sqlite3.OperationalError, OSError) as error:
            self._say(str(error))
        except sqlite3.DatabaseError as error:
            self._set_aside(str(error))
        return None

    def _write(self, commit: Callable[[sqlite3.Connection], None]) -> None:
        try:
            if self._db is None:
                self._open()
            assert self._db is not None
            with _transaction(self._db):
                commit(self._db)
        except (sqlite3.OperationalError, OSError) as error:
            self._say(str(error))
            raise SpoolError(f"{self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            self._set_aside(str(error))
            raise SpoolError(f"{self._path}: {error}") from error

    def _flush(self) -> None:
        """Write what is still in memory, and keep the rest within its bounds."""
        state = self._unwritten
        if state is None:
            return

        def commit(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR IGNORE INTO state (id, as_of, body) VALUES (?, ?, ?)",
                (state.id, state.as_of.timestamp(), _pack(state)),
            )
            self._thin(db)

        for last in (False, True):
            try:
                self._write(commit)
            except SpoolError:
                # A corrupt file has been replaced by an empty one: once more.
                if last or self._problem is not None:
                    return
            else:
                self._unwritten = None
                if self._problem is not None:
                    LOG.info("The spool %s can be written again", self._path)
                    self._problem = None
                return

    def _thin(self, db: sqlite3.Connection) -> None:
        rows = db.execute(
            "SELECT seq, id, as_of, length(body) FROM state WHERE id IS NOT"
            " (SELECT value FROM meta WHERE key = 'acked') ORDER BY seq DESC"
        ).fetchall()
        keep = rows[:KEPT_WHOLE]
        thinned: list[int] = []
        hours: set[int] = set()
        for row in rows[KEPT_WHOLE:]:
            hour = int(row[2] // 3600)
            if hour in hours and row[1] != self._in_flight:
                thinned.append(row[0])
            else:
                keep.append(row)
            hours.add(hour)
        too_old = (self._now() - self._max_age).timestamp()
        dropped: list[int] = []
        size = 0
        for position, (seq, id, as_of, length) in enumerate(keep):
            size += length
            if position and id != self._in_flight and (as_of < too_old or size > self._max_bytes):
                dropped.append(seq)
        for seqs, counter in ((thinned, "thinned"), (dropped, "dropped")):
            if seqs:
                db.executemany("DELETE FROM state WHERE seq = ?", [(seq,) for seq in seqs])
                _count(db, counter, len(seqs))
        if dropped:
            LOG.warning("%d states that nobody got were dropped for age or size", len(dropped))

    def _shrink(self) -> None:
        """Give pages of a drained backlog back, a few at a time."""
        self._guarded(lambda db: db.execute("PRAGMA incremental_vacuum(256)").fetchall())

    def _say(self, problem: str) -> None:
        if self._problem is None:
            LOG.error(
                "The spool %s cannot be written (%s): the newest state stays in memory",
                self._path,
                problem,
            )
        self._problem = problem

    # --- what is not right --------------------------------------------------------------------

    def _set_aside(self, why: str) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        self._in_flight = None
        try:
            self._set_aside_files(why)
            self._connect()
        except (sqlite3.Error, OSError) as error:
            self._say(str(error))

    def _set_aside_files(self, why: str) -> None:
        stamp = self._now().strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self._path.with_name(f"{self._path.name}.corrupt-{stamp}")
        LOG.error(
            "%s is corrupt (%s): set aside as %s; states that waited in it are lost",
            self._path,
            why,
            aside.name,
        )
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self._path}{suffix}", f"{aside}{suffix}")
        found = sorted(self._directory.glob(f"{self._path.name}.corrupt-*Z"))
        for old in found[:-_MOST_SET_ASIDE]:
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{old}{suffix}")

    def _keep_rejected(self, id: str, why: str, body: bytes) -> None:
        directory = self._directory / "rejected"
        directory.mkdir(mode=0o750, exist_ok=True)
        stamp = self._now().strftime("%Y%m%dT%H%M%S.%fZ")
        text = msgspec.json.encode({"why": why, "report": msgspec.Raw(body)})
        (directory / f"{stamp}-{id}.json").write_bytes(text)
        for old in sorted(directory.glob("*.json"))[:-_MOST_REJECTED]:
            old.unlink(missing_ok=True)


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a failed commit may have ended it already
            db.execute("ROLLBACK")
        raise


def _count(db: sqlite3.Connection, counter: str, more: int) -> None:
    db.execute(
        "INSERT INTO meta VALUES (?1, ?2)"
        " ON CONFLICT (key) DO UPDATE SET value = value + excluded.value",
        (counter, more),
    )


def _pack(state: protocol.State) -> bytes:
    return zlib.compress(msgspec.json.encode(state), 1)


def _unpack(body: bytes) -> protocol.State | None:
    try:
        data = zlib.decompressobj().decompress(body, _MAX_UNPACKED_BYTES)
        return msgspec.json.decode(data, type=protocol.State)
    except (zlib.error, msgspec.DecodeError, TypeError):
        return None


def _lock(path: pathlib.Path) -> int:
    try:
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise SpoolHeld(f"{path.parent} is used by another agent") from error
    return fd

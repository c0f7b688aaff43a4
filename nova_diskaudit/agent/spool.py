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
from nova_diskaudit.health import SpoolStatus

LOG = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Pending states that are never thinned.
KEPT_WHOLE = 12

_VERSION = 1
_MOST_REJECTED = 10
_MOST_SET_ASIDE = 3
_MAX_UNPACKED_BYTES = 64 * 2**20
_CHECKPOINT_BYTES = 2**20
_PAGE_BYTES = 4096
# Errors that say nothing about the file: room, permissions and the like may be better later.
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
# Of the input and output errors, those that another file in other blocks would not have.
_UNREADABLE = frozenset(
    {
        sqlite3.SQLITE_IOERR_CORRUPTFS,
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
    }
)
_SIDES = ("", "-wal", "-shm")
_COUNTERS = ("dropped", "thinned", "rejected")
_PENDING = "FROM state WHERE id IS NOT (SELECT value FROM meta WHERE key = 'acked')"


class SpoolError(Exception):
    """The spool cannot be used now; the message is one line."""


class SpoolHeld(SpoolError):
    """Another agent uses this directory."""


class Spool:
    """Pending states, oldest first; thread-safe.

    A file that cannot be opened, for want of room for instance, is tried again at each use; until
    then the newest state stays in memory.

    :param max_age_seconds: of a pending state, by its ``as_of``.
    :param max_bytes: of all pending states, as they are stored.
    :param now: the time, for what is too old.
    :raises SpoolHeld: when another agent uses the directory.
    :raises SpoolError: when nothing can be made there.
    """

    #: Room that the file and its log bring along, so that states come and go on a full disk as
    #: well while the service takes them. A copy-on-write filesystem needs more nevertheless.
    reserved_bytes = 2 * 2**20

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
        # Lost without a file to count it in.
        self._lost = 0
        self._depth = 0
        self._counts = dict.fromkeys(_COUNTERS, 0)
        self._in_flight: str | None = None
        self._agent = ""
        self._host: str | None = None
        self._db: sqlite3.Connection | None = None
        self._closed = False
        self._lock = _lock(state_path / "agent.lock")
        self._ask(lambda db: None)

    @property
    def agent(self) -> str:
        """The UUID that this file's agent goes by; a new file has a new one."""
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
                self._lost += 1
            self._unwritten = state
            self._flush()

    def oldest(self) -> protocol.State | None:
        """The pending state that is to be sent next; None when none is written.

        It is neither thinned nor dropped until it is acknowledged, rejected or put back.
        """
        with self._mutex:
            self._flush()
            while True:
                row = self._ask(
                    lambda db: db.execute(f"SELECT id, body {_PENDING} ORDER BY seq").fetchone()
                )
                if row is None:
                    self._in_flight = None
                    return None
                state = _unpack(row[1])
                if state is not None and state.id == row[0]:
                    self._in_flight = state.id
                    return state
                LOG.error("%s: the state %s is damaged, and dropped", self._path, row[0])
                try:
                    self._write(lambda db, id=row[0]: _drop_damaged(db, id))  # type: ignore[misc]
                except SpoolError:
                    return None

    def put_back(self) -> None:
        """What :meth:`oldest` gave was not sent; it waits with the others again."""
        with self._mutex:
            self._in_flight = None

    def acked(self) -> protocol.State | None:
        """The state that was acknowledged last, the base of a delta; None when there is none."""
        with self._mutex:
            row = self._ask(
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
            self._ask(lambda db: _shrink(db, self.reserved_bytes))
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
            found = self._ask(
                lambda db: db.execute(
                    f"SELECT coalesce(sum(length(body)), 0), min(as_of) {_PENDING}"
                ).fetchone()
            )
            size, oldest = found if found is not None else (0, None)
            if self._unwritten is not None:
                unwritten = self._unwritten.as_of.timestamp()
                oldest = unwritten if oldest is None else min(oldest, unwritten)
            return SpoolStatus(
                depth=self._depth + (self._unwritten is not None),
                bytes=size,
                oldest_as_of=(
                    datetime.datetime.fromtimestamp(oldest, datetime.UTC)
                    if oldest is not None
                    else None
                ),
                dropped=self._counts["dropped"] + self._lost,
                thinned=self._counts["thinned"],
                rejected=self._counts["rejected"],
                in_memory=self._unwritten is not None,
                problem=self._problem,
            )

    def close(self) -> None:
        """Let go of the file and the directory; whoever comes later gets a SpoolError."""
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            self._disconnect()
            os.close(self._lock)

    # --- the file -----------------------------------------------------------------------------

    def _ask(self, question: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """An answer of the database; None when it cannot be had now."""
        try:
            return self._use(question)
        except SpoolError:
            return None

    def _write(self, commit: Callable[[sqlite3.Connection], None]) -> None:
        def whole(db: sqlite3.Connection) -> None:
            with _transaction(db):
                commit(db)
            self._depth, self._counts = _depth(db), _counts(db)

        self._use(whole)

    def _use(self, do: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do something with the database, opened if need be.

        :raises SpoolError: when that is not possible now, or no longer with this file, which is
            then set aside.
        """
        if self._closed:
            raise SpoolError(f"{self._path} is closed")
        try:
            if self._db is None:
                self._db = self._connect()
            return do(self._db)
        except sqlite3.ProgrammingError:
            raise  # a defect of ours, not of the file
        except sqlite3.Error as error:
            if _is_passing(error):
                self._say(str(error))
            else:
                self._set_aside(f"{self._path} is corrupt ({error})")
            raise SpoolError(f"{self._path}: {error}") from error
        except OSError as error:
            self._say(str(error.strerror))
            raise SpoolError(f"{self._path}: {error.strerror}") from error

    def _connect(self) -> sqlite3.Connection:
        """The file, opened and looked through."""
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5)
        try:
            db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = OFF")  # what is deleted would be written once more
            db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_BYTES // _PAGE_BYTES}")
            db.execute(f"PRAGMA journal_size_limit = {2 * self.reserved_bytes}")
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
            check = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if check != "ok":
                raise sqlite3.DatabaseError(check)
            meta = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('agent', 'host')"))
            if not protocol.is_id(str(meta["agent"])):
                raise sqlite3.DatabaseError("the agent's id is none")
            self._agent, self._host = meta["agent"], meta.get("host")
            self._depth, self._counts = _depth(db), _counts(db)
            _reserve(db, self.reserved_bytes)
        except BaseException:
            db.close()
            raise
        return db

    def _disconnect(self) -> None:
        self._in_flight = None
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _flush(self) -> None:
        """Write what is still in memory, and keep the rest within its bounds."""
        state = self._unwritten
        if state is None:
            return
        # Once more when the file had to be replaced by an empty one.
        for _ in range(2):
            try:
                self._use(lambda db: self._own(state.host))
                self._write(lambda db: self._insert(db, state))
            except SpoolError:
                continue
            self._unwritten = None
            self._well()
            return

    def _own(self, host: str) -> None:
        """What waits for another host can no longer be sent with this one's credentials."""
        if self._host is not None and self._host != host:
            self._set_aside(f"{self._path} is of host {self._host}, and this is {host}")
            raise SpoolError(f"{self._path} was of another host")

    def _insert(self, db: sqlite3.Connection, state: protocol.State) -> None:
        db.execute("INSERT OR IGNORE INTO meta VALUES ('host', ?)", (state.host,))
        db.execute(
            "INSERT OR IGNORE INTO state (id, as_of, body) VALUES (?, ?, ?)",
            (state.id, state.as_of.timestamp(), _pack(state)),
        )
        self._thin(db)
        self._host = state.host

    def _thin(self, db: sqlite3.Connection) -> None:
        rows = db.execute(
            f"SELECT seq, id, as_of, length(body) {_PENDING} ORDER BY seq DESC"
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

    # --- what is not right --------------------------------------------------------------------

    def _say(self, problem: str) -> None:
        if self._problem is None:
            LOG.error("The spool %s cannot be used now: %s", self._path, problem)
        self._problem = problem

    def _well(self) -> None:
        if self._problem is not None:
            LOG.info("The spool %s can be used again", self._path)
            self._problem = None

    def _set_aside(self, why: str) -> None:
        """Begin with a new file; the old one is kept for people."""
        self._disconnect()
        stamp = self._now().strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self._path.with_name(f"{self._path.name}.aside-{stamp}")
        try:
            for side in _SIDES:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{self._path}{side}", f"{aside}{side}")
        except OSError as error:
            self._say(f"{why}, and cannot be set aside: {error.strerror}")
            return
        LOG.error("%s: set aside as %s; states that waited in it are lost", why, aside.name)
        # One at least, where nobody can tell how many.
        self._lost += self._counts["dropped"] + max(self._depth, 1)
        self._depth, self._counts = 0, dict.fromkeys(_COUNTERS, 0)
        for old in sorted(self._directory.glob(f"{self._path.name}.aside-*Z"))[:-_MOST_SET_ASIDE]:
            for side in _SIDES:
                with contextlib.suppress(OSError):  # it is tried again the next time
                    os.unlink(f"{old}{side}")

    def _keep_rejected(self, id: str, why: str, body: bytes) -> None:
        directory = self._directory / "rejected"
        directory.mkdir(mode=0o750, exist_ok=True)
        stamp = self._now().strftime("%Y%m%dT%H%M%S.%fZ")
        unfinished = directory / "unfinished"
        unfinished.write_bytes(msgspec.json.encode({"why": why, "report": msgspec.Raw(body)}))
        for same in directory.glob(f"*-{id}.json"):  # killed before it was committed
            same.unlink()
        unfinished.rename(directory / f"{stamp}-{id}.json")
        for old in sorted(directory.glob("*.json"))[:-_MOST_REJECTED]:
            old.unlink(missing_ok=True)


def _is_passing(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)  # only SQLite's own errors have one
    return code is not None and code not in _UNREADABLE and code & 0xFF in _PASSING


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


def _reserve(db: sqlite3.Connection, wanted: int) -> None:
    """Have blocks of the disk for some states, in the file as in its log."""
    db.execute("DROP TABLE IF EXISTS reserve")
    if _free_bytes(db) >= wanted:
        return
    try:
        # In two commits: what is written and freed by one never gets to the disk.
        db.execute("CREATE TABLE reserve (bytes BLOB)")
        db.execute("INSERT INTO reserve VALUES (zeroblob(?))", (wanted,))
        db.execute("DROP TABLE reserve")
        db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    except sqlite3.OperationalError as error:
        LOG.warning("No room could be reserved for the spool: %s", error)


def _shrink(db: sqlite3.Connection, reserved: int) -> None:
    """Give back what a drained backlog took, a little at a time."""
    if _free_bytes(db) > 2 * reserved:
        db.execute(f"PRAGMA incremental_vacuum({_CHECKPOINT_BYTES // _PAGE_BYTES})").fetchall()


def _free_bytes(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA freelist_count").fetchone()[0]) * _PAGE_BYTES


def _depth(db: sqlite3.Connection) -> int:
    return int(db.execute(f"SELECT count(*) {_PENDING}").fetchone()[0])


def _counts(db: sqlite3.Connection) -> dict[str, int]:
    found = dict(db.execute("SELECT key, value FROM meta").fetchall())
    counts = {name: found.get(name, 0) for name in _COUNTERS}
    if not all(type(count) is int for count in counts.values()):
        raise sqlite3.DatabaseError("a counter is no number")
    return counts


def _count(db: sqlite3.Connection, counter: str, more: int) -> None:
    db.execute(
        "INSERT INTO meta VALUES (?1, ?2)"
        " ON CONFLICT (key) DO UPDATE SET value = value + excluded.value",
        (counter, more),
    )


def _drop_damaged(db: sqlite3.Connection, id: str) -> None:
    db.execute("DELETE FROM state WHERE id = ?", (id,))
    _count(db, "dropped", 1)


def _pack(state: protocol.State) -> bytes:
    return zlib.compress(msgspec.json.encode(state), 1)


def _unpack(body: bytes) -> protocol.State | None:
    try:
        data = zlib.decompressobj().decompress(body, _MAX_UNPACKED_BYTES)
        return msgspec.json.decode(data, type=protocol.State)
    except (zlib.error, msgspec.DecodeError, UnicodeError, TypeError):
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

# SPDX-License-Identifier: Apache-2.0
"""Sending to Gnocchi what changed, or everything that is verified when that is due.

A page of instances at a time: which of their disks Gnocchi has is asked from Gnocchi itself, so
nothing has to be kept here that could disagree with it; what is missing is made, what moved is
renewed, and then the measures go, with the times at which they were true. Only when Gnocchi has
acknowledged all of a page is it written down that it has. What is sent twice counts once there.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from nova_diskaudit import protocol
from nova_diskaudit.cloud import CloudError, gnocchi
from nova_diskaudit.sinks import series
from nova_diskaudit.store import sink as store

LOG = logging.getLogger(__name__)

_PAGE = 200
#: Of a request. What stands before Gnocchi seldom allows more than a megabyte.
_MOST_BYTES = 256 * 1024
#: Of a request. When Gnocchi hears of a metric for the first time, it takes some 10 ms to make it,
#: one after another, and what stands before it seldom waits for more than a minute.
_MOST_DISKS = 50
#: If Gnocchi refuses so many instances in a row, it is not about the instances.
_MOST_REFUSED = 20


class Sent(NamedTuple):
    """What was sent of one pass. ``refused`` instances were left out, and a warning tells why."""

    whole: bool
    #: whether the pass is at its end
    complete: bool = True
    instances: int = 0
    disks: int = 0
    measures: int = 0
    made: int = 0
    ended: int = 0
    refused: int = 0


def push(
    engine: sa.Engine,
    to: gnocchi.Gnocchi,
    *,
    now: datetime.datetime,
    archive_policy: str,
    whole_every_seconds: float,
    parallel: int = 1,
    seconds: float = 900.0,
    go_on: Callable[[], None] = lambda: None,
) -> Sent:
    """One pass, or the rest of one that was broken off.

    :param parallel: how many requests may be on their way at the same time.
    :param seconds: after so long it is broken off: the first pass over a large cloud takes hours.
    :param go_on: is called again and again; what it raises breaks the pass off.
    :raises nova_diskaudit.cloud.CloudError: Gnocchi is away, or not as it has to be. What was not
        sent will be.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    to.require_set_up(archive_policy)
    one = store.begin(engine, store.GNOCCHI, now=now, whole_every_seconds=whole_every_seconds)
    latest = now + protocol.CLOCK_TOLERANCE
    until = time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(parallel, "gnocchi") as threads:
        work = _Work(to, archive_policy, latest, threads)
        while True:
            page, last = store.verified(engine, one, limit=_PAGE)
            if last is None:
                break
            work.send(page)
            one = one._replace(after_uuid=last)
            store.advance(engine, store.GNOCCHI, one)
            go_on()
            if time.monotonic() > until:
                return Sent(whole=one.since_at is None, complete=False, **work.counts)
    ended = 0
    for some in _ended(engine, one):
        ended += _end(to, some)
        go_on()
    store.finish(engine, store.GNOCCHI, one)
    return Sent(whole=one.since_at is None, complete=True, ended=ended, **work.counts)


class _Piece(NamedTuple):
    """One instance's part of a request."""

    uuid: str
    disks: list[series.Series]
    data: bytes


class _Refusal(NamedTuple):
    """An instance that is left out."""

    uuid: str
    why: str
    by_gnocchi: bool


class _Done(NamedTuple):
    """What became of some instances, in the order in which it did."""

    accepted: list[_Piece]
    refused: list[_Refusal]
    made: int


class _Work:
    """The pages of one pass, and what became of them."""

    def __init__(
        self,
        to: gnocchi.Gnocchi,
        archive_policy: str,
        latest: datetime.datetime,
        threads: concurrent.futures.Executor,
    ) -> None:
        self._to = to
        self._archive_policy = archive_policy
        self._latest = latest
        self._threads = threads
        self._refused_in_a_row = 0
        self.counts = dict.fromkeys(("instances", "disks", "measures", "made", "refused"), 0)

    def send(self, page: Iterable[store.Verified]) -> None:
        """Bring one page to Gnocchi.

        :raises CloudError: some of it may be there.
        """
        pieces = []
        for one in page:
            try:
                disks = series.of(one, latest=self._latest)
            except series.TooManyDisks as error:
                self._leave_out(_Refusal(one.said.uuid, str(error), by_gnocchi=False))
                continue
            if disks:
                pieces.append(_piece(one.said.uuid, disks, self._archive_policy))
        known: dict[str, dict[str, gnocchi.Resource]] = {piece.uuid: {} for piece in pieces}
        for resource in self._to.alive(known):
            if resource.instance_id in known:
                known[resource.instance_id][resource.id] = resource
        batches = list(_batches(pieces))
        for done in self._threads.map(lambda batch: _deliver(self._to, batch, known), batches):
            self._count(done)

    def _count(self, done: _Done) -> None:
        if done.accepted or done.made:
            self._refused_in_a_row = 0
        disks = [one for piece in done.accepted for one in piece.disks]
        self.counts["instances"] += len(done.accepted)
        self.counts["disks"] += len(disks)
        self.counts["measures"] += sum(len(one.measures) for one in disks)
        self.counts["made"] += done.made
        for refusal in done.refused:
            self._leave_out(refusal)

    def _leave_out(self, refusal: _Refusal) -> None:
        LOG.warning("Instance %s is not sent to Gnocchi: %s", refusal.uuid, refusal.why)
        self.counts["refused"] += 1
        self._refused_in_a_row += refusal.by_gnocchi
        if self._refused_in_a_row >= _MOST_REFUSED:
            raise CloudError(f"Gnocchi refuses one instance after another: {refusal.why}")


def _deliver(
    to: gnocchi.Gnocchi,
    batch: Iterable[_Piece],
    known: Mapping[str, dict[str, gnocchi.Resource]],
) -> _Done:
    """The resources of some instances, and then their measures."""
    done = _Done([], [], 0)
    ready = []
    for piece in batch:
        try:
            made = _make(to, piece.disks, known[piece.uuid])
        except (gnocchi.Refused, series.TooManyDisks) as error:
            by_gnocchi = isinstance(error, gnocchi.Refused)
            done.refused.append(_Refusal(piece.uuid, str(error), by_gnocchi))
            continue
        done = done._replace(made=done.made + made)
        ready.append(piece)
    if ready:
        _send(to, ready, done)
    return done


def _make(
    to: gnocchi.Gnocchi, disks: Iterable[series.Series], known: dict[str, gnocchi.Resource]
) -> int:
    """The resources of one instance as they have to be; how many are new."""
    made = 0
    for one in disks:
        before = known.get(one.resource.id)
        if before is None:
            # A host that names its disks anew in each report would fill Gnocchi.
            if len(known) >= series.MOST_DISKS:
                raise series.TooManyDisks(f"{len(known)} disks in Gnocchi already")
            started_at = min(measure.time for measure in one.measures.values())
            to.create(one.resource, started_at=started_at)
            known[one.resource.id] = one.resource
            made += 1
        elif before != one.resource:
            to.update(one.resource)
    return made


def _send(to: gnocchi.Gnocchi, pieces: Sequence[_Piece], done: _Done) -> None:
    """One request; if that is refused, one an instance, so that one spoils no other."""
    try:
        to.send(b"{" + b",".join(piece.data for piece in pieces) + b"}")
    except gnocchi.Refused as error:
        if len(pieces) == 1:
            done.refused.append(_Refusal(pieces[0].uuid, str(error), by_gnocchi=True))
        else:
            for piece in pieces:
                _send(to, [piece], done)
    else:
        done.accepted.extend(pieces)


def _batches(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Requests of bounded size; an instance is never divided, and has only so many disks."""
    batch: list[_Piece] = []
    size = disks = 0
    for piece in pieces:
        full = size + len(piece.data) > _MOST_BYTES or disks + len(piece.disks) > _MOST_DISKS
        if batch and full:
            yield batch
            batch, size, disks = [], 0, 0
        batch.append(piece)
        size += len(piece.data)
        disks += len(piece.disks)
    if batch:
        yield batch


def _piece(uuid: str, disks: list[series.Series], archive_policy: str) -> _Piece:
    said = {
        one.resource.id: {
            name: {
                "archive_policy_name": archive_policy,
                "unit": "B",
                "measures": [
                    {"timestamp": gnocchi.timestamp(measure.time), "value": measure.bytes}
                ],
            }
            for name, measure in one.measures.items()
        }
        for one in disks
    }
    # Without its braces, so that several make one object.
    return _Piece(uuid, disks, msgspec.json.encode(said)[1:-1])


def _ended(engine: sa.Engine, one: store.Pass) -> Iterator[list[store.Ended]]:
    after = ""
    while page := store.ended(engine, one, after=after, limit=_PAGE):
        yield page
        after = page[-1].uuid


def _end(to: gnocchi.Gnocchi, gone: Sequence[store.Ended]) -> int:
    """Resources of instances that are no more get their end; how many."""
    when = {one.uuid: one.deleted_at for one in gone}
    # All pages first: a page begins after a resource that has to be found still.
    found = list(to.alive(when))
    for resource in found:
        to.end(resource.id, ended_at=when[resource.instance_id])
    return len(found)

# SPDX-License-Identifier: Apache-2.0
"""Sending to Gnocchi what changed, or everything that is verified when that is due.

A page of instances at a time: which of their disks Gnocchi has is asked from Gnocchi itself, so
nothing has to be kept here that could disagree with it; what is missing is made, what moved is
renewed, and then the measures go, with the times at which they were true. Only when Gnocchi has
acknowledged all of a page is it written down that it has. What is sent twice counts once there.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from nova_diskaudit import protocol
from nova_diskaudit.cloud import CloudError, gnocchi
from nova_diskaudit.sinks import series
from nova_diskaudit.store import moment
from nova_diskaudit.store import sink as store

LOG = logging.getLogger(__name__)

#: The sink's name in the store.
NAME = "gnocchi"

_PAGE = 200
#: Of a request. What stands before Gnocchi seldom allows more than a megabyte.
_MOST_BYTES = 256 * 1024
_MOST_SERIES = 500
#: If Gnocchi refuses so many instances in a row, it is not about the instances.
_MOST_REFUSED = 20


class Sent(NamedTuple):
    """What one pass did. ``refused`` instances were left out, and a warning tells why."""

    whole: bool
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
) -> Sent:
    """One pass to its end, or the rest of one that was broken off.

    :raises nova_diskaudit.cloud.CloudError: Gnocchi is away, or not as it has to be. What was not
        sent will be.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    to.require_set_up(archive_policy)
    one = store.begin(engine, NAME, now=now, whole_every_seconds=whole_every_seconds)
    latest = now + protocol.CLOCK_TOLERANCE
    work = _Work(to, archive_policy, latest)
    while True:
        page, last = store.verified(engine, one, limit=_PAGE)
        if last is None:
            break
        work.send(page)
        one = one._replace(after_uuid=last)
        store.advance(engine, NAME, one)
    ended = sum(_end(to, some) for some in _ended(engine, one))
    store.finish(engine, NAME, one)
    done = Sent(whole=one.since_at is None, ended=ended, **work.counts)
    LOG.info("Sent to Gnocchi: %s", done)
    return done


class _Work:
    """The pages of one pass, and what became of them."""

    def __init__(self, to: gnocchi.Gnocchi, archive_policy: str, latest: datetime.datetime) -> None:
        self._to = to
        self._archive_policy = archive_policy
        self._latest = latest
        self._refused_in_a_row = 0
        self.counts = dict.fromkeys(("instances", "disks", "measures", "made", "refused"), 0)

    def send(self, page: Sequence[store.Verified]) -> None:
        """Bring one page to Gnocchi.

        :raises CloudError:
        """
        wanted: dict[str, list[series.Series]] = {}
        for one in page:
            try:
                disks = series.of(one, latest=self._latest)
            except series.TooManyDisks as error:
                self._leave_out(one.said.uuid, str(error))
                continue
            if disks:
                wanted[one.said.uuid] = disks
        for uuid in self._make(wanted):
            del wanted[uuid]
        for batch in _batches(wanted.values(), self._archive_policy):
            self._send(batch)

    def _make(self, wanted: dict[str, list[series.Series]]) -> list[str]:
        """The resources as they have to be; instances for which that is not to be had."""
        known: dict[str, dict[str, gnocchi.Resource]] = {uuid: {} for uuid in wanted}
        for resource in self._to.alive(wanted):
            if resource.instance_id in known:
                known[resource.instance_id][resource.id] = resource
        refused = []
        for uuid, disks in wanted.items():
            try:
                self._make_disks(known[uuid], disks)
            except (gnocchi.Refused, series.TooManyDisks) as error:
                self._leave_out(uuid, str(error), by_gnocchi=isinstance(error, gnocchi.Refused))
                refused.append(uuid)
        return refused

    def _make_disks(
        self, known: dict[str, gnocchi.Resource], disks: Iterable[series.Series]
    ) -> None:
        for one in disks:
            before = known.get(one.resource.id)
            if before is None:
                # A host that names its disks anew in each report would fill Gnocchi.
                if len(known) >= series.MOST_DISKS:
                    raise series.TooManyDisks(f"{len(known)} disks in Gnocchi already")
                started_at = min(measure.time for measure in one.measures.values())
                self._to.create(one.resource, started_at=started_at)
                known[one.resource.id] = one.resource
                self._refused_in_a_row = 0
                self.counts["made"] += 1
            elif before != one.resource:
                self._to.update(one.resource)

    def _send(self, batch: Sequence[_Piece]) -> None:
        """One request; if that is refused, one an instance, so that one spoils no other."""
        try:
            self._to.send(_body(batch))
        except gnocchi.Refused as error:
            if len(batch) == 1:
                self._leave_out(batch[0].uuid, str(error), by_gnocchi=True)
                return
            for piece in batch:
                self._send([piece])
            return
        self._refused_in_a_row = 0
        self.counts["instances"] += len(batch)
        self.counts["disks"] += sum(piece.disks for piece in batch)
        self.counts["measures"] += sum(piece.measures for piece in batch)

    def _leave_out(self, uuid: str, why: str, *, by_gnocchi: bool = False) -> None:
        LOG.warning("Instance %s is not sent to Gnocchi: %s", uuid, why)
        self.counts["refused"] += 1
        self._refused_in_a_row += by_gnocchi
        if self._refused_in_a_row >= _MOST_REFUSED:
            raise CloudError(f"Gnocchi refuses one instance after another: {why}")


class _Piece(NamedTuple):
    """One instance's part of a request."""

    uuid: str
    disks: int
    measures: int
    data: bytes


def _batches(
    instances: Iterable[list[series.Series]], archive_policy: str
) -> Iterator[list[_Piece]]:
    """Requests of bounded size; an instance is never divided, and has only so many disks."""
    batch: list[_Piece] = []
    size = disks = 0
    for one in instances:
        piece = _piece(one, archive_policy)
        full = size + len(piece.data) > _MOST_BYTES or disks + piece.disks > _MOST_SERIES
        if batch and full:
            yield batch
            batch, size, disks = [], 0, 0
        batch.append(piece)
        size += len(piece.data)
        disks += piece.disks
    if batch:
        yield batch


def _piece(disks: list[series.Series], archive_policy: str) -> _Piece:
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
    data = msgspec.json.encode(said)[1:-1]
    measures = sum(len(one.measures) for one in disks)
    return _Piece(disks[0].resource.instance_id, len(disks), measures, data)


def _body(batch: Iterable[_Piece]) -> bytes:
    return b"{" + b",".join(piece.data for piece in batch) + b"}"


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


def last_sent(engine: sa.Engine) -> datetime.datetime | None:
    """When the last pass began that came to its end; None before the first.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    sent_at = store.sent(engine, NAME).sent_at
    return None if sent_at is None else moment.time(sent_at)

# SPDX-License-Identifier: Apache-2.0
"""Holding what agents report against Nova and Placement, some hosts at a time.

Nothing is asked here: what Nova and Placement said is in the store. What follows from it is decided
by :mod:`.judge`; here rows become its values, and what it found becomes findings. A pass looks at
everything, so findings appear and disappear by what is true, whoever ran before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit import protocol
from nova_diskaudit.reconcile import judge
from nova_diskaudit.store import allocation, compare, finding, moment, task

_HOSTS_AT_ONCE = 100
#: Rows of findings that one transaction writes; of one host it may be more.
_ROWS_AT_ONCE = 500

Subject = tuple[int, str]


class Pass(NamedTuple):
    """What became of one pass."""

    hosts: int = 0
    instances: int = 0
    #: findings that appeared, that are told in other words now, and that are no more
    appeared: int = 0
    renewed: int = 0
    cleared: int = 0
    #: hosts that reported meanwhile: they are judged in the next pass
    left: int = 0
    #: providers of Placement that are to be asked again before more is said
    doubted: int = 0


def run(
    lease: task.Lease,
    *,
    nova: bool,
    placement: bool,
    placement_answers: bool,
    stale_after_seconds: float,
    tell: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> Pass:
    """Compare everything, and write what changed of the findings.

    :param nova: whether Nova is asked at all.
    :param placement: whether Placement is.
    :param placement_answers: whether it answered to the end, the last time.
    :raises nova_diskaudit.store.task.Stopped:
    :raises nova_diskaudit.store.errors.StoreError: what was written until then stands.
    """
    clocks = compare.clocks(lease.engine)
    world = judge.World(
        stale_before=moment.of(lease.clock()) - int(stale_after_seconds * 1e6),
        nova=nova,
        nova_at=clocks.nova_at,
        placement=placement,
        placement_at=clocks.placement_at if placement_answers else None,
    )
    shared = compare.shared(lease.engine, fresh_since=world.stale_before)
    doubled = compare.doubled(lease.engine)
    ids = compare.host_ids(lease.engine)
    total = Pass()
    doubted: set[int] = set()
    writer = _Writer(lease)
    for begin in range(0, len(ids), _HOSTS_AT_ONCE):
        lease.go_on()
        some = ids[begin : begin + _HOSTS_AT_ONCE]
        part = _Part(lease.engine, some[0], some[-1], world, shared, doubled)
        for settled in part.settled():
            writer.put(settled)
        doubted |= part.doubted
        total = total._replace(
            hosts=total.hosts + len(part.hosts),
            instances=total.instances + part.instances,
            appeared=total.appeared + part.appeared,
            renewed=total.renewed + part.renewed,
            cleared=total.cleared + part.cleared,
        )
        tell("hosts", total.hosts, len(ids))
    writer.flush()
    allocation.ask_again(lease, doubted)
    return total._replace(left=writer.left, doubted=len(doubted))


class _Writer:
    """Writes what was found, some hosts in one transaction."""

    def __init__(self, lease: task.Lease) -> None:
        self._lease = lease
        self._waiting: list[finding.Settled] = []
        self.left = 0

    def put(self, settled: finding.Settled) -> None:
        waiting = sum(one.size for one in self._waiting)
        if self._waiting and waiting + settled.size > _ROWS_AT_ONCE:
            self.flush()
        self._waiting.append(settled)

    def flush(self) -> None:
        if self._waiting:
            self.left += finding.settle(self._lease, self._waiting)
        self._waiting = []


class _Part:
    """Some hosts, and what is found about them."""

    def __init__(
        self,
        engine: sa.Engine,
        first: int,
        last: int,
        world: judge.World,
        shared: Mapping[str, compare.Shared],
        doubled: Mapping[int, frozenset[str]],
    ) -> None:
        self._engine, self._world, self._shared = engine, world, shared
        self._slice = compare.of_hosts(
            engine,
            first,
            last,
            stale_before=world.stale_before,
            shared=shared,
            doubled=doubled,
            codes=judge.CODES,
        )
        self.hosts = {row.id: _host(row) for row in self._slice.hosts}
        self.instances = self._slice.sighted
        self.doubted: set[int] = set()
        self.appeared = self.renewed = self.cleared = 0
        self._verdicts: defaultdict[Subject, list[judge.Verdict]] = defaultdict(list)
        self._known: defaultdict[Subject, dict[str, str]] = defaultdict(dict)
        for row in self._slice.findings:
            self._known[row.host_id, row.uuid][row.code] = row.message

    def settled(self) -> list[finding.Settled]:
        """What of the findings has to be written."""
        for host_id, host in self.hosts.items():
            self._say((host_id, finding.HOST), judge.of_host(host, self._world))
        self._judge_sightings()
        self._judge_missing()
        self._judge_files()
        return self._differing()

    def _say(self, subject: Subject, verdict: judge.Verdict) -> None:
        if verdict.found or verdict.unknown:
            self._verdicts[subject].append(verdict)

    # --- instances ------------------------------------------------------------------------------

    def _judge_sightings(self) -> None:
        others: defaultdict[Subject, list[judge.Sighting]] = defaultdict(list)
        for row in self._slice.others:
            # Of a domain elsewhere nothing matters but where it is.
            one = judge.Sighting(_host(row), None, 0, 0)
            others[row.mine, row.uuid].append(one)
        claims: defaultdict[str, list[judge.Claim]] = defaultdict(list)
        for row in self._slice.claims:
            claim = judge.Claim(row.provider_id, row.name, row.disk_gb, row.fetched_at)
            claims[row.uuid].append(claim)
        differing: dict[Subject, tuple[judge.Difference, judge.Instance]] = {}
        for row in self._slice.sightings:
            subject, host, instance = (row.host_id, row.uuid), self.hosts[row.host_id], _nova(row)
            sighting = judge.Sighting(host, row.project_id, row.virtual_bytes, row.virtual_unknown)
            self._say(subject, judge.of_host(host, self._world))
            elsewhere = others.get(subject, ())
            self._say(subject, judge.of_place(sighting, elsewhere, instance, self._world))
            promised = claims.get(row.uuid, ())
            found, doubted = judge.of_claim(sighting, instance, promised, self._world)
            self.doubted |= doubted
            if isinstance(found, judge.Verdict):
                self._say(subject, found)
            elif instance is not None:
                differing[subject] = found, instance
        self._explain(differing)

    def _explain(
        self, differing: Mapping[Subject, tuple[judge.Difference, judge.Instance]]
    ) -> None:
        bodies = compare.bodies(self._engine, differing)
        for subject, (difference, instance) in differing.items():
            said = bodies.get(subject)
            if said is not None:
                self._say(subject, judge.of_difference(difference, instance, _shape(said)))
            # Else its host reported again meanwhile, and nothing is written about that.

    def _judge_missing(self) -> None:
        missing = self._slice.missing
        owners = compare.owners(self._engine, [row.uuid for row in missing])
        for row in missing:
            instance = _nova(row)
            assert instance is not None
            verdict = judge.of_missing(
                self.hosts[row.host_id],
                instance,
                self._world,
                owners.sighted.get(row.uuid, frozenset()),
            )
            self._say((row.host_id, row.uuid), verdict)

    # --- files ----------------------------------------------------------------------------------

    def _judge_files(self) -> None:
        strangers: defaultdict[int, list[judge.Leftover]] = defaultdict(list)
        owned: defaultdict[Subject, list[judge.Leftover]] = defaultdict(list)
        keys: defaultdict[Subject, set[str]] = defaultdict(set)
        for (host_id, key), one in self._slice.storages.items():
            for entry in one.leftovers:
                leftover = judge.leftover(entry.name, entry.host_allocated_bytes)
                if leftover.uuid:
                    owned[host_id, leftover.uuid].append(leftover)
                    keys[host_id, leftover.uuid].add(key)
                else:
                    strangers[host_id].append(leftover)
        for host_id, host in self.hosts.items():
            verdict = judge.of_strangers(host, strangers[host_id], self._world)
            self._say((host_id, finding.HOST), verdict)
        owners = compare.owners(self._engine, [uuid for _, uuid in owned])
        for subject, leftovers in owned.items():
            host_id, uuid = subject
            host, row = self.hosts[host_id], owners.instances.get(uuid)
            sharing = {host.name}
            for key in keys[subject]:
                if key in self._shared:
                    sharing |= self._shared[key].names
            instance = _nova(row) if row is not None else None
            verdict = judge.of_files(
                host,
                leftovers,
                instance,
                self._world,
                sharing=sharing,
                sighted_on=owners.sighted.get(uuid, frozenset()),
                is_host_known=instance is not None and instance.host in owners.reporting,
            )
            self._say(subject, verdict)
        self._doubt_files(owned)

    def _doubt_files(self, owned: Mapping[Subject, list[judge.Leftover]]) -> None:
        """What is not listed any more is gone only if the list is whole."""
        for host_id in self.hosts:
            if not self._is_list_whole(host_id):
                self._say((host_id, finding.HOST), judge.Verdict({}, judge.FILES))
        for subject in self._known:
            if subject not in owned and not self._is_list_whole(subject[0]):
                self._say(subject, judge.Verdict({}, judge.FILES))

    def _is_list_whole(self, host_id: int) -> bool:
        """Whether all that lies among this host's instances is told, by it or by a neighbour."""
        keys = self._slice.keys.get(host_id, frozenset())
        return bool(keys) and all(self._is_told(host_id, key) for key in keys)

    def _is_told(self, host_id: int, key: str) -> bool:
        shared = self._shared.get(key)
        if shared is not None and shared.eye != host_id:
            return shared.eye is not None
        # A storage with a finding did not answer, or has more than was looked at.
        return judge.is_fresh(self.hosts[host_id], self._world) and not (
            self._slice.storages[host_id, key].findings
        )

    # --- what is written --------------------------------------------------------------------------

    def _differing(self) -> list[finding.Settled]:
        # What is noted beside an instance or a host, so that a reader need not look for it.
        noted = {
            (row.host_id, row.uuid): judge.CODES.intersection(row.service_codes.split())
            for row in self._slice.sightings
        }
        noted |= {
            (row.id, finding.HOST): judge.CODES.intersection(row.service_codes.split())
            for row in self._slice.hosts
        }
        subjects = {*self._verdicts, *self._known, *(s for s, codes in noted.items() if codes)}
        found: defaultdict[int, dict[tuple[str, str], str]] = defaultdict(dict)
        gone: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
        for subject in subjects:
            host_id, uuid = subject
            verdict = judge.merged(self._verdicts.get(subject, ()))
            known = self._known.get(subject, {})
            final = {code: known[code] for code in known.keys() & verdict.unknown} | {
                code: finding.message(code, detail) for code, detail in verdict.found.items()
            }
            self.appeared += len(final.keys() - known.keys())
            self.renewed += sum(known.get(code, words) != words for code, words in final.items())
            self.cleared += len(known.keys() - final.keys())
            seen = noted.get(subject, known.keys())
            for code, words in final.items():
                if known.get(code) != words or code not in seen:
                    found[host_id][uuid, code] = words
            for code in (known.keys() | seen) - final.keys():
                gone[host_id].add((uuid, code))
        return [
            finding.Settled(row.id, row.report_id, found[row.id], frozenset(gone[row.id]))
            for row in self._slice.hosts
            if found[row.id] or gone[row.id]
        ]


# --- rows as values -----------------------------------------------------------------------------


def _host(row: Any) -> judge.Host:
    return judge.Host(
        id=row.id,
        name=row.name,
        as_of=row.as_of,
        received_at=row.received_at,
        codes=frozenset(row.codes.split()) | frozenset(row.service_codes.split()),
    )


def _nova(row: Any) -> judge.Instance | None:
    if row.seen_at is None:
        return None
    return judge.Instance(
        host=row.nova_host,
        other_host=row.other_host,
        status=row.status,
        task_state=row.task_state,
        root_gb=row.root_gb,
        ephemeral_gb=row.ephemeral_gb,
        swap_mb=row.swap_mb,
        seen_at=row.seen_at,
        moved_at=row.moved_at,
        is_deleted=row.deleted_at is not None,
    )


def _shape(said: protocol.Instance) -> judge.Shape:
    met: set[str] = set()
    sizes = []
    for disk in said.disks:
        if disk.kind != "local" or disk.virtual_bytes is None:
            continue
        if disk.identity is None or disk.identity not in met:
            sizes.append(disk.virtual_bytes)
        if disk.identity is not None:
            met.add(disk.identity)
    has_volumes = any(disk.kind == "volume" for disk in said.disks)
    return judge.Shape(tuple(sizes), has_volumes)

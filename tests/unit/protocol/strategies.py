# SPDX-License-Identifier: Apache-2.0
"""Whatever an engine could report, and more: any text, any number, any time of this century."""

from __future__ import annotations

import datetime
from typing import Any, cast

from hypothesis import strategies as st

from nova_diskaudit import protocol, record
from tests.contract import reports

# Lone surrogates as well: file names that are not UTF-8 arrive with them.
text = st.text(st.characters(), max_size=6)
maybe_text = st.none() | text
count = st.none() | st.integers(0, 2**66) | st.sampled_from([2**63 - 1, 2**63, 2**64])
whole = st.integers(0, 2**66)
claim = st.none() | st.integers(-(2**64), 2**65)
times = st.datetimes(
    datetime.datetime(2026, 1, 1),
    datetime.datetime(2026, 12, 31),
    timezones=st.just(datetime.UTC),
)
findings = st.lists(
    st.builds(
        record.Finding,
        code=text,
        severity=st.sampled_from(["info", "warning", "error"]),
        message=text,
    ),
    max_size=2,
).map(tuple)
filesystems = st.lists(
    st.builds(
        record.Filesystem,
        name=text,
        mountpoint=maybe_text,
        type=text,
        used_bytes=claim,
        total_bytes=claim,
        disks=st.lists(text, max_size=2).map(tuple),
        place=st.sampled_from(["direct", "inside", "spans", "elsewhere", "ignored"]),
    ),
    max_size=2,
).map(tuple)
triples = st.none() | st.builds(
    record.LibvirtTriple, capacity=claim, allocation=claim, physical=claim, as_of=times
)
guests = st.builds(
    record.Guest,
    state=st.sampled_from(["answered", "answered", "agent-timeout", "agent-absent"]),
    agent_version=maybe_text,
    as_of=st.none() | times,
    checked_at=st.none() | times,
)


def _disk(target: str) -> st.SearchStrategy[record.Disk]:
    return st.builds(
        record.Disk,
        target=st.just(target),
        serial=maybe_text,
        kind=st.sampled_from(["local", "volume", "config", "cdrom"]),
        storage=text,
        source=maybe_text,
        format=maybe_text,
        identity=maybe_text,
        storage_identity=maybe_text,
        virtual_bytes=count,
        host_allocated_bytes=count,
        host_allocated_source=maybe_text,
        container_bytes=count,
        high_water_bytes=count,
        backing_bytes=count,
        libvirt=triples,
        guest_used_bytes=count,
        guest_total_bytes=count,
        used=st.builds(
            record.Used,
            bytes=count,
            low=whole,
            high=count,
            basis=st.sampled_from(["guest", "guest-partial", "host", "none"]),
        ),
        reclaimable=st.builds(
            record.Reclaimable, low=whole, high=count, estimate=count, how=st.just("trim")
        ),
        findings=findings,
    )


disks = st.sets(st.sampled_from(["vda", "vdb", "sdc"]), max_size=2).flatmap(
    lambda targets: st.tuples(*map(_disk, sorted(targets)))
)


def instances(number: int) -> st.SearchStrategy[record.Instance]:
    return st.builds(
        record.Instance,
        uuid=st.just(reports.uuid_of(number)),
        domain=text,
        state=st.sampled_from(["running", "paused", "shutoff", "crashed", "suspended", "unknown"]),
        as_of=times,
        project_id=maybe_text,
        user_id=maybe_text,
        flavor=maybe_text,
        guest=guests,
        filesystems=filesystems,
        findings=findings,
        disks=disks,
    )


storages = st.lists(
    st.builds(
        record.Storage,
        identity=text,
        kind=text,
        path=text,
        fs_type=maybe_text,
        total_bytes=count,
        free_bytes=count,
        inodes_free=count,
        virtual_sum_bytes=whole,
        image_cache_bytes=count,
        managed_save_bytes=count,
        instances_path=maybe_text,
        leftovers=st.lists(
            st.builds(record.Leftover, name=text, host_allocated_bytes=count), max_size=2
        ).map(tuple),
        findings=findings,
    ),
    max_size=2,
    unique_by=lambda one: repr(one.identity),
).map(tuple)


@st.composite
def hosts(draw: Any) -> record.HostReport:
    """What one cycle found."""
    numbers = draw(st.sets(st.integers(0, 5), max_size=3))
    return record.HostReport(
        schema=record.SCHEMA_VERSION,
        host=draw(text.filter(bool)),
        as_of=draw(times),
        storages=draw(storages),
        instances=tuple(draw(instances(number)) for number in sorted(numbers, reverse=True)),
        findings=draw(findings),
    )


@st.composite
def pairs(draw: Any) -> tuple[protocol.State, protocol.State]:
    """Two states of one host; of the instances in both some are the same."""
    first = draw(hosts())
    second = draw(hosts())
    known = {one.uuid: one for one in second.instances}
    kept = [one for one in first.instances if draw(st.booleans())]
    known |= {one.uuid: one for one in kept}
    second = record.HostReport(
        schema=second.schema,
        host=first.host,
        as_of=second.as_of,
        storages=second.storages,
        instances=tuple(known.values()),
        findings=second.findings,
    )
    states = (
        protocol.state_of(first, reports.uuid_of(1000)),
        protocol.state_of(second, reports.uuid_of(1001)),
    )
    return cast(tuple[protocol.State, protocol.State], states)

# SPDX-License-Identifier: Apache-2.0
"""A small cloud to look at: a bit of everything that a page has to show, with honest numbers.

Bounds come from the product's own arithmetic; everything else is as agents report it. Times are
relative to the clock that is given.
"""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa

from nova_diskaudit import findings, limits, protocol, record, verdict
from nova_diskaudit.attribute import DiskClaims
from nova_diskaudit.facts import LayerFacts
from nova_diskaudit.reconcile import rollup
from nova_diskaudit.store import moment, quota, tables
from nova_diskaudit.store import report as store_report
from tests import reports

GIB = reports.GIB
MIB = 2**20

SHOP = "5b8e3a6f0d5c4ea0b1d7a1f43c9e2a11"
LAB = "c0ffee5e0d5c4ea0b1d7a1f43c9e2b22"
SMALL = "e11a5a6f0d5c4ea0b1d7a1f43c9e2c33"

#: What a tenant may call a server, and a guest a filesystem: markup, a script, a quote, an
#: override of the direction, a line of its own, and no end.
HOSTILE = (
    '<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>\'"`${1}\u202egpj.exe'
    "\u2066\u200b javascript:window.harmed=1 " + "W" * 400
)
#: The same without what a name in Nova could not have.
HOSTILE_NAME = HOSTILE[:240]

MINUTE = datetime.timedelta(minutes=1)
HOUR = datetime.timedelta(hours=1)
#: Hours ago in which the service was away.
_GAP = range(20, 31)


def uuid(name: str) -> str:
    return reports.uuid_of("scenery", name)


def domain(name: str) -> str:
    return f"instance-{int(uuid(name)[:4], 16):08x}"


# --- disks and instances ----------------------------------------------------------------------


def disk(
    target: str,
    virtual: int,
    held: int | None,
    *,
    filesystems: tuple[record.Filesystem, ...] | None = (),
    raw: bool = False,
    discard: bool = False,
    codes: tuple[str, ...] = (),
    **changes: Any,
) -> record.Disk:
    """A disk whose bounds follow from what lies on it; no ``filesystems``: the guest is silent."""
    claims = None if filesystems is None else _claims(target, filesystems)
    used = verdict.judge_used(virtual, held, claims)
    layer = LayerFacts(
        allocated_bytes=held,
        allocated_source="stat",
        host_block_bytes=4096,
        shares_extents=False,
    )
    reclaimable = verdict.judge_reclaimable(
        virtual, layer, layer if claims else None, claims, used, raw, discard
    )
    found = [findings.finding(code) for code in codes]
    if verdict.is_worthwhile(reclaimable, virtual) and reclaimable.how != "none":
        found.append(
            findings.finding(
                "untrimmed", f"held {held} bytes, used {used.bytes} by the guest's word"
            )
        )
        if not discard:
            found.append(findings.finding("discard-disabled"))
    plain: dict[str, Any] = {
        "source": None,
        "format": "raw" if raw else "qcow2",
        "virtual_bytes": virtual,
        "host_allocated_bytes": held,
        "host_allocated_source": "stat" if held is not None else None,
        "container_bytes": virtual if raw else held,
        "high_water_bytes": None,
        "backing_bytes": 0,
        "guest_used_bytes": claims.used_bytes if claims else None,
        "guest_total_bytes": claims.total_bytes if claims else None,
        "used": used,
        "reclaimable": reclaimable,
        "findings": tuple(found),
    }
    return reports.disk(target, **plain | changes)


def _claims(target: str, filesystems: tuple[record.Filesystem, ...]) -> DiskClaims:
    here = [one for one in filesystems if target in one.disks]
    direct = [one for one in here if one.place == "direct"]
    inside = [one for one in here if one.place == "inside"]
    return DiskClaims(
        direct=tuple((one.used_bytes or 0, one.total_bytes or 0) for one in direct),
        inside=tuple(one.used_bytes or 0 for one in inside),
        total_bytes=sum(one.total_bytes or 0 for one in (*direct, *inside)) or None,
        incomplete=any(one.place == "spans" for one in here),
        types=frozenset(one.type for one in direct),
    )


def filesystem(
    target: str,
    used: int | None,
    total: int | None,
    *,
    mountpoint: str | None = "/",
    type: str = "ext4",
    place: record.Place = "direct",
    **changes: Any,
) -> record.Filesystem:
    plain: dict[str, Any] = {
        "name": f"{target}1",
        "mountpoint": mountpoint,
        "type": type,
        "used_bytes": used,
        "total_bytes": total,
        "disks": (target,),
        "place": place,
    }
    return record.Filesystem(**plain | changes)


def instance(
    name: str,
    project: str,
    *disks: record.Disk,
    filesystems: tuple[record.Filesystem, ...] = (),
    guest: str = "answered",
    codes: tuple[str, ...] = (),
    as_of: datetime.datetime,
    **changes: Any,
) -> protocol.Instance:
    spoken = guest == "answered"
    plain: dict[str, Any] = {
        "domain": domain(name),
        "project_id": project,
        "guest": record.Guest(
            state=guest,
            agent_version="8.2.2" if spoken else None,
            as_of=as_of - 3 * MINUTE if spoken else None,
        ),
        "filesystems": filesystems,
        "findings": tuple(
            findings.finding(code) for code in (*(() if spoken else (guest,)), *codes)
        ),
        "disks": tuple(
            reports.changed(
                one,
                identity=f"file:fd01:{name}:{one.target}" if one.identity else None,
                source=one.source or f"/var/lib/nova/instances/{uuid(name)}/{one.target}",
            )
            for one in disks
        ),
    }
    return reports.instance(uuid(name), **plain | changes)


# --- who is there -----------------------------------------------------------------------------


def instances(
    now: datetime.datetime, *, hostile: bool = True
) -> dict[str, tuple[protocol.Instance, ...]]:
    """By host.

    :param hostile: whether one of them means harm.
    """
    shop = (
        _database(now),
        _runner(now),
        _web("web-1", now, held=int(6.4 * GIB), used=int(5.1 * GIB)),
        _web("web-2", now, held=int(5.9 * GIB), used=int(5.0 * GIB)),
        _search(now),
    )
    lab = (_training(now), _mail(now), _scratch(now), _moved(now))
    return {
        "compute-1.example.org": shop[:3],
        "compute-2.example.org": (*lab[:2], shop[3]),
        "compute-3.example.org": (shop[4], *lab[2:], *([_hostile(now)] if hostile else [])),
        "compute-4.example.org": (_stranger(now), _moved(now)),
    }


def _database(now: datetime.datetime) -> protocol.Instance:
    root = filesystem("vda", int(7.1 * GIB), int(39.2 * GIB))
    data = filesystem("vdb", int(61.4 * GIB), int(199.9 * GIB), mountpoint="/srv/db", type="xfs")
    return instance(
        "database",
        SHOP,
        disk(
            "vda",
            40 * GIB,
            int(9.8 * GIB),
            filesystems=(root,),
            discard=True,
            codes=("allocation-is-high-water-mark", "shared-backing"),
            backing_bytes=int(2.2 * GIB),
            high_water_bytes=int(38.6 * GIB),
            libvirt=record.LibvirtTriple(
                capacity=40 * GIB,
                allocation=int(38.6 * GIB),
                physical=int(9.8 * GIB),
                as_of=now - 2 * MINUTE,
            ),
        ),
        disk(
            "vdb",
            200 * GIB,
            200 * GIB,
            filesystems=(data,),
            raw=True,
            codes=("preallocated", "triple-equal"),
            high_water_bytes=200 * GIB,
        ),
        filesystems=(root, data),
        flavor="db.large",
        as_of=now,
    )


def _runner(now: datetime.datetime) -> protocol.Instance:
    return instance(
        "ci-runner-3",
        SHOP,
        disk("vda", 80 * GIB, int(71.3 * GIB), filesystems=None, discard=True),
        guest="agent-disconnected",
        as_of=now,
    )


def _web(name: str, now: datetime.datetime, *, held: int, used: int) -> protocol.Instance:
    root = filesystem("vda", used, int(19.6 * GIB))
    return instance(
        name,
        SHOP,
        disk(
            "vda",
            20 * GIB,
            held,
            filesystems=(root,),
            discard=True,
            codes=("shared-backing",),
            backing_bytes=int(2.2 * GIB),
        ),
        filesystems=(root,),
        as_of=now,
    )


def _search(now: datetime.datetime) -> protocol.Instance:
    """A raw disk that is trimmed from time to time: what fstrim gives at least is known."""
    root = filesystem("vda", int(2.4 * GIB), int(59.0 * GIB))
    volume = disk(
        "vdb",
        500 * GIB,
        None,
        filesystems=None,
        kind="volume",
        storage="network:rbd",
        source="volumes/volume-0c9d6a3e",
        identity="volume:0c9d6a3e",
        codes=("host-allocation-unknown",),
        container_bytes=None,
        storage_identity=None,
        backing_bytes=None,
    )
    return instance(
        "search",
        SHOP,
        disk("vda", 60 * GIB, int(41.7 * GIB), filesystems=(root,), raw=True, discard=True),
        volume,
        filesystems=(root,),
        as_of=now,
    )


def _training(now: datetime.datetime) -> protocol.Instance:
    """LVM with a thin pool, and a btrfs over two disks: bounds without a number."""
    boot = filesystem("vda", 310 * MIB, 974 * MIB, mountpoint="/boot")
    thin = filesystem(
        "vda", int(22.8 * GIB), 30 * GIB, mountpoint="/", type="xfs", place="inside", name="dm-3"
    )
    wide = filesystem(
        "vdb",
        int(140.0 * GIB),
        300 * GIB,
        mountpoint="/data",
        type="btrfs",
        place="spans",
        disks=("vdb", "vdc"),
    )
    every = (boot, thin, wide)
    return instance(
        "training",
        LAB,
        disk("vda", 64 * GIB, int(31.0 * GIB), filesystems=every),
        disk(
            "vdb", 150 * GIB, int(88.0 * GIB), filesystems=every, codes=("filesystem-spans-disks",)
        ),
        disk(
            "vdc", 150 * GIB, int(71.5 * GIB), filesystems=every, codes=("filesystem-spans-disks",)
        ),
        filesystems=every,
        codes=("filesystem-spans-disks",),
        flavor="gpu.2",
        as_of=now,
    )


def _mail(now: datetime.datetime) -> protocol.Instance:
    return instance(
        "mail",
        LAB,
        disk("vda", 32 * GIB, int(18.2 * GIB), filesystems=None, high_water_bytes=None),
        state="shutoff",
        guest="guest-not-running",
        as_of=now,
    )


def _scratch(now: datetime.datetime) -> protocol.Instance:
    """Its storage hangs: nothing of it is known but the promise."""
    return instance(
        "scratch",
        LAB,
        disk(
            "vda",
            100 * GIB,
            None,
            filesystems=None,
            codes=("storage-unresponsive",),
            container_bytes=None,
            backing_bytes=None,
            identity=None,
        ),
        guest="guest-not-asked",
        codes=("qemu-unresponsive",),
        as_of=now,
    )


def _moved(now: datetime.datetime) -> protocol.Instance:
    """Reported by two hosts, and Nova knows of one."""
    root = filesystem("vda", int(3.3 * GIB), int(9.8 * GIB))
    return instance(
        "moved",
        LAB,
        disk("vda", 10 * GIB, int(4.0 * GIB), filesystems=(root,), discard=True),
        filesystems=(root,),
        as_of=now,
    )


def _hostile(now: datetime.datetime) -> protocol.Instance:
    root = filesystem(
        "vda", 2**62, 4 * GIB, mountpoint=HOSTILE, type="<b>ext4</b>", place="ignored", name=HOSTILE
    )
    return instance(
        "hostile",
        SMALL,
        disk(
            "vda",
            8 * GIB,
            int(1.5 * GIB),
            filesystems=(root,),
            source=f"/srv/{HOSTILE}",
            serial=HOSTILE,
        ),
        filesystems=(root,),
        codes=("guest-claim-implausible",),
        flavor=HOSTILE,
        as_of=now,
    )


def _stranger(now: datetime.datetime) -> protocol.Instance:
    return instance(
        "stranger",
        SMALL,
        disk("vda", 25 * GIB, int(14.6 * GIB), filesystems=None),
        guest="agent-absent",
        as_of=now,
    )


def storages(host: str) -> tuple[record.Storage, ...]:
    local = reports.storage(
        identity=f"fsid:{host}",
        total_bytes=1800 * GIB,
        free_bytes=1260 * GIB,
        virtual_sum_bytes=420 * GIB,
        image_cache_bytes=int(38.4 * GIB),
    )
    if host.startswith("compute-2"):
        full = reports.changed(
            local,
            free_bytes=61 * GIB,
            virtual_sum_bytes=3100 * GIB,
            managed_save_bytes=16 * GIB,
            leftovers=(
                record.Leftover(
                    name="8f3a11c2-5a0c-4b9e-9a39-0d6b0f7f2f10_resize",
                    host_allocated_bytes=int(22.5 * GIB),
                ),
                record.Leftover(name="disk.bak", host_allocated_bytes=None),
            ),
        )
        return (full,)
    if host.startswith("compute-3"):
        dead = reports.storage(
            identity="nfs:filer:/export",
            kind="network",
            path="/mnt/filer",
            fs_type="nfs4",
            total_bytes=None,
            free_bytes=None,
            inodes_free=None,
            virtual_sum_bytes=100 * GIB,
            image_cache_bytes=None,
            managed_save_bytes=None,
            findings=(findings.finding("storage-unresponsive", "/mnt/filer"),),
        )
        return (local, dead)
    return (local,)


# --- into the store ---------------------------------------------------------------------------


def fill(
    engine: sa.Engine,
    now: datetime.datetime,
    *,
    hours: int = 0,
    nova: bool = True,
    hostile: bool = True,
) -> None:
    """All of it, as if it had been reported a moment ago; one host has been silent for hours.

    :param hours: how much of the past there is as well: less and less the longer ago, with a gap.
    """
    last: dict[str, str] = {}
    for ago in range(hours, -1, -1):
        if ago in _GAP:
            continue
        at = now - ago * HOUR
        _report_all(engine, instances(at, hostile=hostile), at, 1 - 0.4 * ago / max(hours, 1), last)
        rollup.run(
            engine,
            now=at,
            nova=nova,
            stale_after_seconds=3600.0,
            project_history_days=400,
            instance_history_days=400,
        )


def _report_all(
    engine: sa.Engine,
    by_host: dict[str, tuple[protocol.Instance, ...]],
    now: datetime.datetime,
    share: float,
    last: dict[str, str],
) -> None:
    for host, here in by_host.items():
        at = now - (200 if host.startswith("compute-4") else 2) * MINUTE
        grown = tuple(_grown(one, share) for one in here)
        id = uuid(f"report of {host} at {at}")
        state = reports.state(host, grown, as_of=at - MINUTE, storages=storages(host), id=id)
        report = reports.full(state, agent=host, replaces=last.get(host), sent_at=at)
        store_report.put(engine, report, now=at, takeover_after_seconds=900)
        last[host] = id


def _grown(one: protocol.Instance, share: float) -> protocol.Instance:
    """The instance when it held and used only a share of it."""
    if share == 1:
        return one
    return reports.changed(one, disks=tuple(_grown_disk(disk, share) for disk in one.disks))


def _grown_disk(one: record.Disk, share: float) -> record.Disk:
    def less(count: int | None) -> int | None:
        return None if count is None else int(count * share)

    return reports.changed(
        one,
        host_allocated_bytes=less(one.host_allocated_bytes),
        guest_used_bytes=less(one.guest_used_bytes),
        used=reports.changed(one.used, bytes=less(one.used.bytes), low=less(one.used.low)),
        reclaimable=reports.changed(
            one.reclaimable,
            low=less(one.reclaimable.low),
            estimate=less(one.reclaimable.estimate),
        ),
    )


def nova_says(engine: sa.Engine, now: datetime.datetime, projects: dict[str, str]) -> None:
    """Nova's word on all but one of them.

    :param projects: what the projects of the scenery are called in this cloud.
    """
    at = moment.of(now)
    rows = []
    known = set()
    for host, here in instances(now).items():
        for one in here:
            if one.uuid in known or one.uuid == uuid("stranger"):
                continue
            known.add(one.uuid)
            rows.append(
                {
                    "uuid": one.uuid,
                    "project_id": projects.get(one.project_id or "", one.project_id),
                    "user_id": "somebody",
                    "name": _names()[one.uuid],
                    "host": host,
                    "status": "ACTIVE",
                    "seen_at": at,
                    "moved_at": 0,
                }
            )
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.instance), rows)
        connection.execute(
            sa.insert(tables.nova_map),
            [{"id": 1, "complete_at": at + 1, "listed_at": at + 1, "refreshed_at": at + 1}],
        )


def keystone_and_placement_say(engine: sa.Engine, now: datetime.datetime) -> None:
    """The limits of all projects, those of one that holds too much, and what that was promised."""
    at = moment.of(now)
    rows = [
        (quota.EVERYBODY, limits.HOST_ALLOCATED, 1000),
        (quota.EVERYBODY, limits.GUEST_USED, limits.UNLIMITED),
        (quota.EVERYBODY, limits.NOVA_DISK, 1000),
        (SHOP, limits.HOST_ALLOCATED, 300),
        (SHOP, limits.NOVA_DISK, 500),
    ]
    quota.put_limits(engine, [quota.Limit(*row, None) for row in rows], model=limits.FLAT, at=at)
    quota.put_claims(engine, {SHOP: 420}, at=at)
    quota.put_state(engine, nova_enforces=1)


def _names() -> dict[str, str]:
    names = ("database", "ci-runner-3", "web-1", "web-2", "search", "training", "mail", "scratch")
    return {uuid(name): name for name in (*names, "moved")} | {uuid("hostile"): HOSTILE_NAME}

# SPDX-License-Identifier: Apache-2.0
"""A hand-made report with everything a renderer may meet, the nasty part included."""

from __future__ import annotations

import datetime

from nova_diskaudit import findings, record

MIB = 1024**2
GIB = 1024**3

AS_OF = datetime.datetime(2026, 11, 23, 12, 0, 0, 250000, tzinfo=datetime.UTC)

PROJECT = "6f70656e737461636b2070726f6a6563"

# Escape sequences (7 and 8 bit), a carriage return and newline, rich markup, quotes, backslash,
# bidi override, zero-width space, a Hangul filler, a tag character, and much too long.
HOSTILE = (
    'evil\x1b[2J\x1b]0;owned\x07\x9b31m\r\nforged "row" \\ {label="x"} [bold red]b[/bold red] '
    "[link=file:///]l[/link] :smile: \u202etxt.exe\u202c \u200bzero \u3164fill \U000e0041tag "
    + "long"
    * 100
)
# A file name that is not UTF-8, as os.fsdecode() delivers it.
NOT_UTF8 = b"caf\xe9.qcow2".decode("utf-8", "surrogateescape")


def disk(target: str, **known: object) -> record.Disk:
    """A disk of which nothing is known but what is given."""
    fields: dict[str, object] = dict.fromkeys(record.Disk.__struct_fields__)
    fields |= {
        "kind": "local",
        "storage": "file",
        "used": record.Used(bytes=None, low=0, high=None, basis="none"),
        "reclaimable": record.Reclaimable(low=0, high=None, estimate=None, how="none"),
        "findings": (),
    }
    return record.Disk(**(fields | known | {"target": target}))


def seed() -> record.Instance:
    """Libvirt's three numbers are equal; the filesystem is 2 % used."""
    return record.Instance(
        uuid="8f3a11c2-5a0c-4b9e-9a39-0d6b0f7f2f10",
        domain="instance-0000002a",
        state="running",
        as_of=AS_OF,
        project_id=PROJECT,
        user_id="demo",
        flavor="m1.small",
        guest=record.Guest(state="answered", agent_version="7.2.0", as_of=AS_OF),
        filesystems=(
            record.Filesystem(
                name="vda",
                mountpoint="/",
                type="xfs",
                used_bytes=41967616,
                total_bytes=2136997888,
                disks=("vda",),
                place="direct",
            ),
        ),
        findings=(),
        disks=(
            disk(
                "vda",
                serial="root-8f3a",
                source="/var/lib/nova/instances/8f3a11c2/disk",
                format="raw",
                identity="file:fd01:1057",
                storage_identity="fsid:91a2",
                virtual_bytes=2 * GIB,
                host_allocated_bytes=110268416,
                host_allocated_source="stat",
                container_bytes=2 * GIB,
                high_water_bytes=2 * GIB,
                backing_bytes=0,
                libvirt=record.LibvirtTriple(
                    capacity=2 * GIB, allocation=2 * GIB, physical=110268416, as_of=AS_OF
                ),
                guest_used_bytes=41967616,
                guest_total_bytes=2136997888,
                used=record.Used(bytes=41967616, low=41967616, high=52453376, basis="guest"),
                reclaimable=record.Reclaimable(
                    low=57815040, high=68300800, estimate=68300800, how="trim"
                ),
                findings=(
                    findings.finding("allocation-is-high-water-mark"),
                    findings.finding("untrimmed", "at least 55.1 MiB"),
                ),
            ),
            disk(
                "vdb",
                serial="0c9d6a3e-volume",
                kind="volume",
                storage="network:rbd",
                source="volumes/volume-0c9d6a3e",
                format="raw",
                identity="volume:0c9d6a3e",
                virtual_bytes=10 * GIB,
                used=record.Used(bytes=None, low=0, high=10 * GIB, basis="none"),
                findings=(
                    findings.finding("host-allocation-unknown"),
                    findings.finding("triple-equal", "cause A"),
                ),
            ),
            disk(
                "vdc",
                kind="config",
                source="/var/lib/nova/instances/8f3a11c2/disk.config",
                format="raw",
                identity="file:fd01:1058",
                storage_identity="fsid:91a2",
                virtual_bytes=485376,
                host_allocated_bytes=487424,
                host_allocated_source="stat",
                container_bytes=485376,
                used=record.Used(bytes=485376, low=485376, high=485376, basis="guest"),
                guest_used_bytes=485376,
                guest_total_bytes=485376,
                reclaimable=record.Reclaimable(low=0, high=0, estimate=0, how="none"),
            ),
            disk("sda", kind="cdrom", storage="file", format="raw"),
        ),
    )


def silent() -> record.Instance:
    """An agent that hangs, on a thick LV; nothing known for certain."""
    return record.Instance(
        uuid="11111111-2222-3333-4444-555555555555",
        domain="instance-00000007",
        state="paused",
        as_of=AS_OF,
        project_id=None,
        user_id=None,
        flavor=None,
        guest=record.Guest(state="agent-timeout"),
        filesystems=(),
        findings=(findings.finding("agent-timeout", "3 s"),),
        disks=(
            disk(
                "vda",
                storage="block",
                source="/dev/vg/root",
                format="raw",
                identity="block:253:7",
                virtual_bytes=512 * MIB,
                host_allocated_bytes=512 * MIB,
                host_allocated_source="block-device-size",
                container_bytes=512 * MIB,
                high_water_bytes=0,
                used=record.Used(bytes=None, low=0, high=512 * MIB, basis="host"),
                reclaimable=record.Reclaimable(low=0, high=0, estimate=None, how="none"),
            ),
        ),
    )


def unreadable() -> record.Instance:
    """Not even its disks are known."""
    return record.Instance(
        uuid="99999999-0000-0000-0000-000000000001",
        domain="instance-00000099",
        state="unknown",
        as_of=AS_OF,
        project_id=None,
        user_id=None,
        flavor=None,
        guest=record.Guest(state="agent-absent"),
        filesystems=(),
        findings=(findings.finding("domain-unreadable", "no answer in 5 s"),),
        disks=(),
    )


def hostile() -> record.Instance:
    """Every text is an attack."""
    bad = record.Finding(code="guest-claim-implausible", severity="warning", message=HOSTILE)
    return record.Instance(
        uuid="deadbeef-0000-4000-8000-000000000000",
        domain=HOSTILE,
        state="shutoff",
        as_of=AS_OF,
        project_id=HOSTILE,
        user_id=HOSTILE,
        flavor=HOSTILE,
        guest=record.Guest(state="answered", agent_version=HOSTILE, as_of=AS_OF),
        filesystems=(
            record.Filesystem(
                name=HOSTILE,
                mountpoint="/\x1b[2J\n" + HOSTILE,
                type=HOSTILE,
                used_bytes=-5,
                total_bytes=2**63,
                disks=("vda",),
                place="ignored",
            ),
        ),
        findings=(bad,),
        disks=(
            disk(
                HOSTILE,
                serial=HOSTILE,
                storage=HOSTILE,
                source=HOSTILE,
                format=HOSTILE,
                identity=HOSTILE,
                storage_identity=HOSTILE,
                host_allocated_source=HOSTILE,
                virtual_bytes=0,
                host_allocated_bytes=1,
                backing_bytes=1023 * MIB + 900 * 1024,
                used=record.Used(bytes=None, low=0, high=0, basis="guest-partial"),
                reclaimable=record.Reclaimable(low=0, high=1, estimate=None, how="enable-discard"),
                findings=(bad, bad, findings.finding("file-missing")),
            ),
        ),
    )


def report() -> record.HostReport:
    """One host with all of them."""
    return record.HostReport(
        schema=record.SCHEMA_VERSION,
        host="compute-1",
        as_of=AS_OF,
        storages=(
            record.Storage(
                identity="nfs:filer:/export/nova",
                kind="nfs",
                path="/mnt/nova",
                fs_type="nfs4",
                total_bytes=None,
                free_bytes=None,
                inodes_free=None,
                virtual_sum_bytes=0,
                image_cache_bytes=None,
                managed_save_bytes=None,
                leftovers=(),
                findings=(findings.finding("storage-unresponsive", "no stat in 2 s"),),
            ),
            record.Storage(
                identity="fsid:91a2",
                kind="local",
                path="/var/lib/nova/instances",
                instances_path="/var/lib/nova/instances",
                fs_type="xfs",
                total_bytes=500 * GIB,
                free_bytes=123456789012,
                inodes_free=1234567,
                virtual_sum_bytes=2 * GIB + 485376,
                image_cache_bytes=3 * GIB,
                managed_save_bytes=0,
                leftovers=(
                    record.Leftover(name=HOSTILE, host_allocated_bytes=4096),
                    record.Leftover(name="4a0c_resize", host_allocated_bytes=None),
                ),
            ),
        ),
        instances=(silent(), hostile(), seed(), unreadable()),
        findings=(findings.finding("storage-scan-incomplete", HOSTILE),),
    )


def not_utf8() -> record.HostReport:
    """A report with a file name that no JSON document can carry as it is."""
    leftover = record.Leftover(name=NOT_UTF8, host_allocated_bytes=None)
    first, *others = report().storages
    storage = record.Storage(**{**_fields(first), "leftovers": (leftover,)})
    return record.HostReport(**{**_fields(report()), "storages": (storage, *others)})


def _fields(struct: record.Struct) -> dict[str, object]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}

# SPDX-License-Identifier: Apache-2.0
"""What happens to disks while they live: written, deleted, trimmed, plugged, snapshotted."""

import dataclasses
import functools

import libvirt

from tests.lab import guests
from tests.lab.domain import GIB, MIB, Disk, Domain
from tests.lab.machine import Machine, await_true
from tests.lab.observe import take
from tests.lab.play import Observations, Play


def _ready(machine: Machine) -> None:
    await_true("the agent connects", lambda: machine.channel_state() == "connected")


# -- write, delete, fstrim --------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Trim:
    """A disk that is filled, emptied and trimmed."""

    name: str
    disk: Disk
    filesystem: str = "ext4"
    #: writes many small files and keeps one in sixteen, so that every cluster stays in use
    scattered: bool = False
    #: whether the file system covers the disk, so that what it no longer uses is known
    covered: bool = False
    #: what is written and deleted again, in MiB
    big: int = 24

    @property
    def mountpoint(self) -> str:
        return f"/mnt/{self.disk.target}"


TRIMS = (
    Trim("raw-with-discard", Disk("vda", 128 * MIB, discard=True)),
    Trim("raw-without-discard", Disk("vdb", 128 * MIB)),
    Trim("qcow2-with-discard", Disk("vdc", 128 * MIB, "qcow2", discard=True)),
    Trim("qcow2-without-discard", Disk("vdd", 128 * MIB, "qcow2")),
    Trim("raw-xfs-with-discard", Disk("vde", 384 * MIB, discard=True), "xfs"),
    Trim("qcow2-xfs-with-discard", Disk("vdf", 384 * MIB, "qcow2", discard=True), "xfs"),
    Trim(
        "raw-vfat-with-discard", Disk("vdi", 96 * MIB, discard=True), "vfat", covered=True, big=72
    ),
    Trim(
        "qcow2-vfat-without-discard", Disk("vdj", 96 * MIB, "qcow2"), "vfat", covered=True, big=72
    ),
    Trim("qcow2-scattered", Disk("vdg", 128 * MIB, "qcow2", discard=True), scattered=True),
    Trim(
        "raw-preallocated-with-discard",
        Disk("vdh", 128 * MIB, discard=True, options="preallocation=falloc"),
    ),
)


# 4 KiB blocks: the default for small ext4 is 1 KiB, which no larger disk has.
_MKFS = {"ext4": "mkfs.ext4 -q -b 4096", "xfs": "mkfs.xfs -q", "vfat": "mkfs.vfat"}


def perform_trims(machine: Machine) -> Observations:
    _ready(machine)
    seen = {"written": take(machine, "written", guest=True)}
    machine.run("\n".join(f"rm -f {trim.mountpoint}/big" for trim in TRIMS))
    machine.run("\n".join(f"rm -f {t.mountpoint}/f*[1-9a-f]" for t in TRIMS if t.scattered))
    seen["deleted"] = take(machine, "deleted", guest=True)
    machine.run("\n".join(f"fstrim {trim.mountpoint} || :" for trim in TRIMS))
    seen["trimmed"] = take(machine, "trimmed", guest=True)
    return seen


def _trim_script() -> str:
    lines = []
    for trim in TRIMS:
        device = f"/dev/{trim.disk.target}"
        lines.append(f"{_MKFS[trim.filesystem]} {device}")
        lines.append(f"mnt {trim.filesystem} {device} {trim.mountpoint}")
        lines.append(f"fill {trim.mountpoint}/kept 4")
        if trim.scattered:
            lines.append(f"scatter {trim.mountpoint} 2048")
        else:
            lines.append(f"fill {trim.mountpoint}/big {trim.big}")
    return "\n".join(lines) + "\n"


TRIM = Play(Domain("trim", tuple(trim.disk for trim in TRIMS), _trim_script()), perform_trims)


# -- the case that the project began with ------------------------------------------------------


def perform_seed(machine: Machine) -> Observations:
    _ready(machine)
    return {"seed": take(machine, "seed", guest=True, agent=True, explain=("vda", "vdb"))}


SEED = Play(
    Domain(
        "seed",
        (
            Disk("vda", 2 * GIB, options="preallocation=falloc"),
            Disk("vdb", 2 * GIB, discard=True),
        ),
        """
mkfs.xfs -q -K /dev/vda
mnt xfs /dev/vda /mnt/a
mkfs.xfs -q /dev/vdb
mnt xfs /dev/vdb /mnt/b
""",
    ),
    perform_seed,
)


# -- a life ------------------------------------------------------------------------------------

_SNAPSHOT = """\
<domainsnapshot>
  <disks>
    <disk name="vda" snapshot="external"><source file="{workdir}/life-vda.overlay"/></disk>
    <disk name="vdb" snapshot="external"><source file="{workdir}/life-vdb.overlay"/></disk>
    <disk name="vdc" snapshot="no"/>
  </disks>
</domainsnapshot>
"""


def _job_is_ready(machine: Machine, target: str) -> bool:
    job = machine.domain.blockJobInfo(target, 0)
    ready = machine.domain.XMLDesc(0).count("ready='yes'")
    return bool(job) and job["cur"] == job["end"] and ready >= ("vda", "vdb").index(target) + 1


def perform_life(machine: Machine) -> Observations:
    _ready(machine)
    everything: tuple[str, ...] = ("vda", "vdb")
    seen = {"settled": take(machine, "settled", guest=True, explain=everything)}

    machine.plug(Disk("vdc", 64 * MIB, "qcow2", serial=guests.UUID_3))
    machine.run(
        "while [ ! -b /dev/vdc ]; do sleep 0.1; done; settle; udev\n"
        "mkfs.ext4 -q /dev/vdc; mnt ext4 /dev/vdc /mnt/c; fill /mnt/c/x 7"
    )
    everything = ("vda", "vdb", "vdc")
    seen["plugged"] = take(machine, "plugged", guest=True, agent=True, explain=everything)

    flags = (
        libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
        | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    )
    workdir = machine.hypervisor.workdir
    machine.domain.snapshotCreateXML(_SNAPSHOT.format(workdir=workdir), flags)
    machine.run("fill /mnt/a/y 5")
    seen["snapshotted"] = take(machine, "snapshotted", guest=True, explain=everything)

    commit = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
    for target in ("vda", "vdb"):
        machine.domain.blockCommit(target, None, None, 0, commit)
        await_true("the commit is ready", functools.partial(_job_is_ready, machine, target))
    seen["committing"] = take(machine, "committing", guest=True, explain=everything)
    for target in ("vda", "vdb"):
        machine.domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
        await_true(
            "the commit ends", lambda target=target: not machine.domain.blockJobInfo(target, 0)
        )
    machine.run("fill /mnt/a/z 2; fill /mnt/b/z 2")
    seen["committed"] = take(machine, "committed", guest=True, explain=everything)

    machine.domain.suspend()
    seen["paused"] = take(machine, "paused", explain=everything)
    machine.domain.destroy()
    # What was plugged in is not part of the persistent domain.
    seen["off"] = take(machine, "off", targets=("vda", "vdb"), explain=("vda", "vdb"))
    return seen


LIFE = Play(
    Domain(
        "life",
        (
            Disk("vda", 256 * MIB, "qcow2", serial=guests.UUID_1, discard=True),
            Disk("vdb", 64 * MIB, serial=guests.UUID_2),
        ),
        """
mkfs.ext4 -q /dev/vda
mkfs.ext4 -q /dev/vdb
mnt ext4 /dev/vda /mnt/a
mnt ext4 /dev/vdb /mnt/b
fill /mnt/a/x 30
fill /mnt/b/x 10
""",
    ),
    perform_life,
)

# SPDX-License-Identifier: Apache-2.0
"""What guests build on their disks, and what is then true: rows of "what the agent lists".

Each scenario speaks of the disks of one guest; several share a boot. Mount points say what lies
where: ``whole`` lies wholly on the disk, ``spread`` lies on it in part.
"""

import dataclasses
import pathlib
import subprocess
import tempfile

from tests.lab.domain import GIB, MIB, Disk, Domain
from tests.lab.hypervisor import Hypervisor
from tests.lab.machine import Machine, await_true
from tests.lab.observe import take
from tests.lab.play import Observations, Play

UUID_1 = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
UUID_2 = "2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d"
UUID_3 = "3a6c1ef5-5b4f-47d3-9c83-6c0f0f3a6e11"


@dataclasses.dataclass(frozen=True)
class OnDisk:
    """What one disk carries."""

    target: str
    #: mount points of the file systems that lie wholly on it
    whole: tuple[str, ...] = ()
    #: mount points of those that lie on it and elsewhere
    spread: tuple[str, ...] = ()
    #: whether the file systems in ``whole`` share blocks, so that their sum is too much
    shared: bool = False
    #: whether the guest's claim for this disk is exactly the statfs of ``whole``
    exact: bool = False
    #: whether they cover the disk, so that the audit names the bytes in use, not only bounds
    covered: bool = False
    findings: frozenset[str] = frozenset()
    #: a serial that is a UUID is that of a Cinder volume
    kind: str = "local"


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A named case; see the module's docstring."""

    name: str
    table: str
    play: Play
    disks: tuple[OnDisk, ...]
    label: str = "settled"
    #: findings of the instance
    findings: frozenset[str] = frozenset()


def settled(machine: Machine) -> Observations:
    """The one observation of a guest that has done what its script says."""
    await_true("the agent connects", lambda: machine.channel_state() == "connected")
    targets = tuple(d.target for d in machine.spec.disks if d.device == "disk")
    return {"settled": take(machine, "settled", guest=True, agent=True, explain=targets)}


def iso(hypervisor: Hypervisor, path: pathlib.Path) -> None:
    """An ISO file system labelled as Nova labels a config drive."""
    with tempfile.TemporaryDirectory() as directory:
        data = pathlib.Path(directory) / "openstack/latest"
        data.mkdir(parents=True)
        (data / "meta_data.json").write_text('{"uuid": "lab"}' + " " * 100_000)
        command = [
            "genisoimage",
            "-quiet",
            "-J",
            "-r",
            "-V",
            "config-2",
            "-o",
            str(path),
            directory,
        ]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def squashfs(hypervisor: Hypervisor, path: pathlib.Path) -> None:
    """An ext4 file system that carries a squashfs file, as snaps do."""
    with tempfile.TemporaryDirectory() as directory:
        content, tree = pathlib.Path(directory) / "content", pathlib.Path(directory) / "tree"
        content.mkdir()
        tree.mkdir()
        (content / "data").write_bytes(bytes(range(256)) * 4096)
        image = str(tree / "snap.squashfs")
        command = ["mksquashfs", str(content), image, "-quiet", "-no-progress"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with path.open("wb") as disk:
            disk.truncate(128 * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", tree, path], check=True)


_PLAIN = """
sfdisk -q /dev/vda << END
label: gpt
size=96M
size=400M
size=64M
size=32M
END
settle
mkfs.ext4 -q /dev/vda1
mkfs.xfs -q /dev/vda2
mkfs.ext4 -q /dev/vda3
mkswap /dev/vda4
swapon /dev/vda4
mnt ext4 /dev/vda1 /mnt/one
mnt xfs /dev/vda2 /mnt/two
mnt ext4 /dev/vda3 /mnt/three
fill /mnt/one/a 20
fill /mnt/two/a 30
fill /mnt/three/a 10
umount /mnt/three

mkfs.ext4 -q /dev/vdb
mnt ext4 /dev/vdb /mnt/whole
fill /mnt/whole/a 15
mkdir -p /mnt/whole/inner /mnt/bound
mount -o bind /mnt/whole/inner /mnt/bound

mkfs.vfat /dev/vdc
mnt vfat /dev/vdc /mnt/fat
fill /mnt/fat/a 5

mkswap /dev/vdd
swapon /dev/vdd
fill /dev/vde 12

mnt iso9660 /dev/vdf /mnt/config
mnt iso9660 /dev/sr0 /mnt/cdrom

mnt ext4 /dev/vdg /mnt/snaps
mkdir -p /mnt/snap /mnt/upper /mnt/merged /mnt/small
mount -t squashfs -o loop /mnt/snaps/snap.squashfs /mnt/snap
mount -t tmpfs -o size=8m tmpfs /mnt/small
mkdir -p /mnt/small/upper /mnt/small/work
mount -t overlay -o lowerdir=/mnt/snap,upperdir=/mnt/small/upper,workdir=/mnt/small/work \\
    overlay /mnt/merged
mkfs.ext4 -q -b 1024 /dev/vdh
mnt ext4 /dev/vdh "/mnt/with space"
fill "/mnt/with space/a" 3
"""

PLAIN = Play(
    Domain(
        "plain",
        (
            Disk("vda", 640 * MIB, "qcow2", serial=UUID_1, discard=True),
            Disk("vdb", 4 * GIB, serial=UUID_2),
            Disk("vdc", 64 * MIB),
            Disk("vdd", 32 * MIB),
            Disk("vde", 64 * MIB),
            Disk("vdf", source="disk.config", prepare=iso, readonly=True),
            Disk("vdg", prepare=squashfs),
            Disk("vdh", 64 * MIB, "qcow2"),
            Disk("sda", device="cdrom", source="plain-media.iso", prepare=iso),
        ),
        _PLAIN,
    ),
    settled,
)

_MAPPED = """
modprobe -a dm_mod dm_crypt dm_thin_pool raid0 raid1
mkdir -p /run/cryptsetup
lvm pvcreate -q /dev/vda
lvm vgcreate -q one /dev/vda
lvm lvcreate -q -y -l 100%FREE -n all one
mkfs.ext4 -q /dev/one/all
mnt ext4 /dev/one/all /mnt/linear
fill /mnt/linear/a 20

lvm vgcreate -q two /dev/vdb
lvm lvcreate -q -y -L 64M -n first two
lvm lvcreate -q -y -L 48M -n second two
mkfs.ext4 -q /dev/two/first
mkfs.ext4 -q /dev/two/second
mnt ext4 /dev/two/first /mnt/first
mnt ext4 /dev/two/second /mnt/second
fill /mnt/first/a 10
fill /mnt/second/a 6

lvm vgcreate -q wide /dev/vdc /dev/vdd
lvm lvcreate -q -y -l 100%FREE -n all wide
mkfs.ext4 -q /dev/wide/all
mnt ext4 /dev/wide/all /mnt/wide
fill /mnt/wide/a 90

printf secret > /run/key
cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/vde /run/key
cryptsetup open --key-file /run/key /dev/vde vault
mkfs.ext4 -q /dev/mapper/vault
mnt ext4 /dev/mapper/vault /mnt/vault
fill /mnt/vault/a 12

lvm vgcreate -q thin /dev/vdf
lvm lvcreate -q -y -L 200M -T thin/pool
lvm lvcreate -q -y -V 600M -T thin/pool -n lean
mkfs.ext4 -q /dev/thin/lean
mnt ext4 /dev/thin/lean /mnt/lean
fill /mnt/lean/a 25
umount /mnt/lean
lvm lvcreate -q -y -kn -s -n before thin/lean
mnt ext4 /dev/thin/lean /mnt/lean
fill /mnt/lean/b 5
mnt ext4 /dev/thin/before /mnt/before

mdadm --create /dev/md1 --run --level=1 --raid-devices=2 --assume-clean --metadata=1.0 \\
    /dev/vdg /dev/vdh
mkfs.ext4 -q /dev/md1
mnt ext4 /dev/md1 /mnt/mirror
fill /mnt/mirror/a 8
mdadm --create /dev/md0 --run --level=0 --raid-devices=2 /dev/vdi /dev/vdj
mkfs.ext4 -q /dev/md0
mnt ext4 /dev/md0 /mnt/stripes
fill /mnt/stripes/a 16
cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/vdk /run/key
"""

MAPPED = Play(
    Domain(
        "mapped",
        (
            Disk("vda", 128 * MIB, serial=UUID_1),
            Disk("vdb", 160 * MIB, serial=UUID_2),
            Disk("vdc", 96 * MIB),
            Disk("vdd", 96 * MIB, "qcow2"),
            Disk("vde", 96 * MIB),
            Disk("vdf", 256 * MIB),
            Disk("vdg", 64 * MIB),
            Disk("vdh", 64 * MIB),
            Disk("vdi", 64 * MIB),
            Disk("vdj", 64 * MIB),
            Disk("vdk", 64 * MIB),
        ),
        _MAPPED,
    ),
    settled,
)

BTRFS_ONE = Play(
    Domain(
        "btrfs-one",
        (Disk("vda", 4 * GIB, "qcow2", serial=UUID_1),),
        """
mkfs.btrfs -q /dev/vda
mnt btrfs /dev/vda /mnt/top
btrfs -q subvolume create /mnt/top/home
btrfs -q subvolume create /mnt/top/logs
mkdir -p /mnt/home /mnt/logs
mount -t btrfs -o subvol=home /dev/vda /mnt/home
mount -t btrfs -o subvol=logs /dev/vda /mnt/logs
fill /mnt/home/a 20
fill /mnt/logs/a 10
""",
    ),
    settled,
)

BTRFS_TWO = Play(
    Domain(
        "btrfs-two",
        (
            Disk("vda", 192 * MIB, serial=UUID_1),
            Disk("vdb", 192 * MIB, serial=UUID_2),
            Disk("vdc", 64 * MIB, serial=UUID_3),
        ),
        """
modprobe btrfs
mkfs.btrfs -q -d single -m single /dev/vda /dev/vdb
btrfs -q device scan
mnt btrfs /dev/vda /mnt/both
fill /mnt/both/a 210
mkfs.ext4 -q /dev/vdc
mnt ext4 /dev/vdc /mnt/other
""",
    ),
    settled,
)

# The size that this agent tells counts the blocks reserved for root, on vda a tenth of all, without
# which the file system would seem to leave a part of the disk to others.
NEWER_AGENT = Play(
    Domain(
        "newer-agent",
        (
            Disk("vda", 2 * GIB, serial=UUID_1),
            Disk("vdb", 2 * GIB, "qcow2", serial=UUID_2),
            Disk("vdc", GIB),
        ),
        """
mkfs.ext4 -q -m 10 /dev/vda
mnt ext4 /dev/vda /mnt/whole
fill /mnt/whole/a 15
mkdir -p /mnt/whole/inner /mnt/bound
mount -o bind /mnt/whole/inner /mnt/bound

sfdisk -q /dev/vdb << END
label: gpt
size=1G
size=+
END
settle
mkfs.ext4 -q /dev/vdb1
mkfs.xfs -q /dev/vdb2
mnt ext4 /dev/vdb1 /mnt/one
mnt xfs /dev/vdb2 /mnt/two
fill /mnt/one/a 20
fill /mnt/two/a 30

modprobe dm_mod
lvm pvcreate -q /dev/vdc
lvm vgcreate -q lab /dev/vdc
lvm lvcreate -q -y -l 100%FREE -n all lab
mkfs.ext4 -q /dev/lab/all
mnt ext4 /dev/lab/all /mnt/linear
fill /mnt/linear/a 10
""",
        agent_release="trixie",
    ),
    settled,
)

NEWER_AGENT_BTRFS = Play(
    Domain(
        "newer-agent-btrfs",
        (Disk("vda", 4 * GIB, "qcow2", serial=UUID_1),),
        """
mkfs.btrfs -q /dev/vda
mnt btrfs /dev/vda /mnt/top
btrfs -q subvolume create /mnt/top/home
mkdir -p /mnt/home
mount -t btrfs -o subvol=home /dev/vda /mnt/home
fill /mnt/home/a 20
""",
        agent_release="trixie",
    ),
    settled,
)

_THREE = """
# The kernel names SCSI disks in the order in which they answer.
for lab_pair in {pairs}; do
    lab_disk=$(scsi_disk "${{lab_pair#*=}}")
    mkfs.ext4 -q "$lab_disk"
    mnt ext4 "$lab_disk" "/mnt/${{lab_pair%=*}}"
done
fill /mnt/a/x 3
fill /mnt/b/x 6
fill /mnt/c/x 9
"""


def without_udev(machine: Machine) -> Observations:
    """The same guest with udev's word, and as if it ran none."""
    first = settled(machine)["settled"]
    machine.run("rm -r /run/udev/data/*; : > /run/lab-no-udev")
    second = take(machine, "without-udev", guest=True, agent=True)
    return {"settled": first, "without-udev": second}


SCSI_SERIALS = Play(
    Domain(
        "scsi-serials",
        (
            Disk("sda", 64 * MIB, serial=UUID_1),
            Disk("sdb", 64 * MIB, serial=UUID_2),
            Disk("sdc", 64 * MIB, serial=UUID_3),
            # virtio passes on 20 characters, and these two share them
            Disk("vda", 48 * MIB, serial="volume-0123456789abcdef-one"),
            Disk("vdb", 48 * MIB, serial="volume-0123456789abcdef-two"),
        ),
        _THREE.format(pairs="a=0:0 b=0:1 c=0:2")
        + """
mkfs.ext4 -q /dev/vda
mkfs.ext4 -q /dev/vdb
mnt ext4 /dev/vda /mnt/va
mnt ext4 /dev/vdb /mnt/vb
fill /mnt/va/x 4
fill /mnt/vb/x 8
""",
    ),
    without_udev,
)


def _target(number: int) -> str:
    return f'<address type="drive" controller="0" bus="0" target="{number}" unit="0"/>'


# Unlike the logical unit, the target is not passed on by the agent: all three have one address.
SCSI_PLAIN = Play(
    Domain(
        "scsi-no-serials",
        (
            Disk("sda", 64 * MIB, extra=_target(0)),
            Disk("sdb", 64 * MIB, extra=_target(1)),
            Disk("sdc", 64 * MIB, extra=_target(2)),
        ),
        _THREE.format(pairs="a=0:0 b=1:0 c=2:0"),
    ),
    without_udev,
)

_SPANS = frozenset({"filesystem-spans-disks"})

SCENARIOS = (
    Scenario(
        "partitions",
        "4.2 ext4/xfs on partition",
        PLAIN,
        (OnDisk("vda", ("/mnt/one", "/mnt/two"), kind="volume"),),
    ),
    Scenario(
        "whole-disk",
        "4.2 ext4/xfs on whole disk; several disks",
        PLAIN,
        (OnDisk("vdb", ("/mnt/whole",), kind="volume", covered=True, exact=True),),
    ),
    Scenario(
        "bind-mount",
        "4.2 bind mounts: listed once",
        PLAIN,
        (OnDisk("vdb", ("/mnt/whole",), kind="volume", covered=True, exact=True),),
    ),
    Scenario("vfat", "4.2 vfat", PLAIN, (OnDisk("vdc", ("/mnt/fat",), covered=True, exact=True),)),
    Scenario("swap", "4.2 swap: not listed", PLAIN, (OnDisk("vdd"),)),
    Scenario("raw-data", "4.2 raw DB volumes: not listed", PLAIN, (OnDisk("vde"),)),
    Scenario(
        "config-drive",
        "4.2 config drive: listed, 100 % full",
        PLAIN,
        (OnDisk("vdf", kind="config"),),
    ),
    Scenario("cdrom", "4.2 CD-ROM: listed, 100 % full", PLAIN, (OnDisk("sda", kind="cdrom"),)),
    Scenario(
        "squashfs-loop",
        "4.2 snap squashfs and loop images; overlay, tmpfs: not listed",
        PLAIN,
        (OnDisk("vdg", ("/mnt/snaps",), exact=True),),
    ),
    Scenario(
        "mountpoint-with-space",
        "4.2 ext4 on whole disk",
        PLAIN,
        (OnDisk("vdh", ("/mnt/with\\040space",), exact=True),),
    ),
    Scenario(
        "lvm-linear",
        "4.2 LVM",
        MAPPED,
        (OnDisk("vda", ("/mnt/linear",), kind="volume", exact=True),),
    ),
    Scenario(
        "lvm-two-volumes",
        "4.2 LVM",
        MAPPED,
        (OnDisk("vdb", ("/mnt/first", "/mnt/second"), kind="volume"),),
    ),
    Scenario(
        "lvm-across-disks",
        "4.2 LVM: one file system, several disks",
        MAPPED,
        (OnDisk("vdc", spread=("/mnt/wide",)), OnDisk("vdd", spread=("/mnt/wide",))),
        findings=_SPANS,
    ),
    Scenario("luks", "4.2 dm-crypt", MAPPED, (OnDisk("vde", ("/mnt/vault",)),)),
    Scenario("luks-locked", "4.2 LUKS locked: not listed", MAPPED, (OnDisk("vdk"),)),
    Scenario(
        "thin-volumes-with-snapshot",
        "4.2 LVM: volumes that share blocks",
        MAPPED,
        (OnDisk("vdf", ("/mnt/lean", "/mnt/before"), shared=True),),
    ),
    Scenario(
        "md-raid1",
        "4.2 md RAID",
        MAPPED,
        (OnDisk("vdg", spread=("/mnt/mirror",)), OnDisk("vdh", spread=("/mnt/mirror",))),
        findings=_SPANS,
    ),
    Scenario(
        "md-raid0",
        "4.2 md RAID",
        MAPPED,
        (OnDisk("vdi", spread=("/mnt/stripes",)), OnDisk("vdj", spread=("/mnt/stripes",))),
        findings=_SPANS,
    ),
    Scenario(
        "btrfs-with-subvolumes",
        "4.2 btrfs: subvolumes collapse to the first mount",
        BTRFS_ONE,
        (OnDisk("vda", ("/mnt/top",), kind="volume", exact=True),),
    ),
    Scenario(
        "btrfs-over-two-disks",
        "4.2 btrfs: only one device is named",
        BTRFS_TWO,
        (
            OnDisk("vda", spread=("/mnt/both",), kind="volume"),
            OnDisk("vdb", spread=("/mnt/both",), kind="volume"),
            OnDisk("vdc", ("/mnt/other",), kind="volume", exact=True),
        ),
    ),
    Scenario(
        "newer-agent-whole-disk",
        "4.2 total-bytes-privileged; a bind mount is not listed beside its file system",
        NEWER_AGENT,
        (OnDisk("vda", ("/mnt/whole",), kind="volume", covered=True, exact=True),),
    ),
    Scenario(
        "newer-agent-partitions",
        "4.2 total-bytes-privileged",
        NEWER_AGENT,
        (OnDisk("vdb", ("/mnt/one", "/mnt/two"), kind="volume", covered=True, exact=True),),
    ),
    Scenario(
        "newer-agent-lvm",
        "4.2 total-bytes-privileged",
        NEWER_AGENT,
        (OnDisk("vdc", ("/mnt/linear",), covered=True, exact=True),),
    ),
    Scenario(
        "newer-agent-btrfs",
        "4.2 total-bytes-privileged; a subvolume is not listed beside its file system",
        NEWER_AGENT_BTRFS,
        (OnDisk("vda", ("/mnt/top",), kind="volume", covered=True, exact=True),),
    ),
    Scenario(
        "scsi-with-serials",
        "4.3 three virtio-scsi disks, serials as udev gives them",
        SCSI_SERIALS,
        (
            OnDisk("sda", ("/mnt/a",), exact=True, kind="volume"),
            OnDisk("sdb", ("/mnt/b",), exact=True, kind="volume"),
            OnDisk("sdc", ("/mnt/c",), exact=True, kind="volume"),
        ),
    ),
    Scenario(
        "scsi-without-serials",
        "4.3 three virtio-scsi disks without a serial of their own",
        SCSI_PLAIN,
        (
            OnDisk("sda", ("/mnt/a",)),
            OnDisk("sdb", ("/mnt/b",)),
            OnDisk("sdc", ("/mnt/c",)),
        ),
    ),
    Scenario(
        "scsi-without-udev",
        "4.3 three virtio-scsi disks at one address, no serial at all",
        SCSI_PLAIN,
        (
            OnDisk("sda", ("/mnt/a",)),
            OnDisk("sdb", ("/mnt/b",)),
            OnDisk("sdc", ("/mnt/c",)),
        ),
        label="without-udev",
    ),
    Scenario(
        "scsi-units-without-udev",
        "4.3 three virtio-scsi disks by logical unit, no serial at all",
        SCSI_SERIALS,
        (
            OnDisk("sda", ("/mnt/a",), kind="volume"),
            OnDisk("sdb", ("/mnt/b",), kind="volume"),
            OnDisk("sdc", ("/mnt/c",), kind="volume"),
        ),
        label="without-udev",
    ),
    Scenario(
        "virtio-serials-alike",
        "4.3 two virtio disks whose serials share the 20 characters that the guest sees",
        SCSI_SERIALS,
        (OnDisk("vda", ("/mnt/va",)), OnDisk("vdb", ("/mnt/vb",))),
    ),
    Scenario(
        "virtio-without-udev",
        "4.3 virtio disks by address alone",
        SCSI_SERIALS,
        (OnDisk("vda", ("/mnt/va",)), OnDisk("vdb", ("/mnt/vb",))),
        label="without-udev",
    ),
)

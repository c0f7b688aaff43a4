# SPDX-License-Identifier: Apache-2.0
"""Every row of the tables of libvirt's block numbers, as a disk that shows it.

What libvirt prints as ``allocation`` and ``physical`` is, case by case, one of

* ``VSIZE``, the size that the guest sees,
* ``DU``, the bytes that the file holds,
* ``LS``, where the file or the block device ends,
* ``HWM``, the highest offset written since QEMU opened the node,
* ``SUM``, the bytes that an image and its external data file hold,
* ``ZERO``, whatever the disk holds.

Which one, depends on the type, the format, the state, and the versions of libvirt and QEMU that
started the domain: since libvirt 10.1 with QEMU 9.0 a raw disk has no format node, and with it its
high-water mark is gone. So each row says it for both stacks.
"""

import dataclasses

from tests.lab import storage
from tests.lab.domain import MIB, Disk
from tests.lab.observe import DiskFacts

VSIZE, DU, LS, HWM, SUM, ZERO = "VSIZE", "DU", "LS", "HWM", "SUM", "ZERO"

#: libvirt's error codes, which it answers instead of numbers
INVALID_ARG, UNSUPPORTED, INTERNAL = 8, 84, 1

#: the symbols of allocation and physical, or an error code
Pair = tuple[str, str] | int


@dataclasses.dataclass(frozen=True)
class Row:
    """A disk, what is written to it, and the (allocation, physical) that libvirt then prints."""

    name: str
    #: the row of the table, as the docs name it
    table: str
    disk: Disk
    host: Pair
    trixie: Pair
    #: commands of qemu-io, given to the running QEMU
    io: tuple[str, ...] = ()
    #: codes that the product must find on this disk, on both stacks or on one
    findings: frozenset[str] = frozenset()
    findings_host: frozenset[str] = frozenset()
    findings_trixie: frozenset[str] = frozenset()

    def pair(self, stack: str) -> Pair:
        return self.host if stack == "host" else self.trixie

    def codes(self, stack: str) -> frozenset[str]:
        own = self.findings_host if stack == "host" else self.findings_trixie
        return self.findings | own

    def never(self, stack: str) -> frozenset[str]:
        """Codes that would be wrong: the explanations of numbers that this disk does not show."""
        return (_HIGH | _EQUAL | _PREALLOCATED) - self.codes(stack)

    @property
    def virtual(self) -> int | None:
        """The promised size, None where only a running QEMU could tell it."""
        return None if "virtual-size-unknown" in self.findings else self.disk.size or None

    def held(self, facts: DiskFacts) -> int | None:
        """What the storage holds for the disk, None where the host cannot know."""
        if self.disk.storage == "block":
            # A loop device holds what the file under it holds.
            return facts.under
        if SUM in (self.host if isinstance(self.host, tuple) else ()):
            return facts.stats["physical"]
        return facts.allocated


_SIZE = 64 * MIB
_LAST = f"write -P 3 {_SIZE - 32768} 32768"
_FIRST = "write -P 3 0 1M"
_HIGH = frozenset({"allocation-is-high-water-mark"})
_EQUAL = frozenset({"triple-equal"})
_PREALLOCATED = frozenset({"preallocated"})
_UNKNOWN = frozenset({"host-allocation-unknown"})

RUNNING = (
    Row(
        "raw-untouched",
        "1.2 file raw sparse, no write since start; 1.3 file",
        Disk("vda", _SIZE, prepare=storage.raw_holding(_SIZE, MIB)),
        host=(DU, LS),
        trixie=(DU, LS),
    ),
    Row(
        "raw-last-sector-written",
        "1.2 file raw sparse, HWM != DU; 1.3 file; 1.6 an offset, not a sum",
        Disk("vdb", _SIZE),
        io=(_FIRST, _LAST),
        host=(HWM, DU),
        trixie=(DU, LS),
        findings_host=_HIGH,
    ),
    Row(
        "raw-high-water-mark-equals-du",
        "1.2 file raw sparse, HWM == DU by coincidence",
        Disk("vdc", _SIZE),
        io=(_FIRST,),
        host=(HWM, LS),
        trixie=(DU, LS),
    ),
    Row(
        "raw-fully-discarded",
        "1.2 file raw, DU == 0 after full discard; 1.5 D",
        Disk("vdd", _SIZE, discard=True),
        io=(f"write -P 3 0 {_SIZE}", f"discard 0 {_SIZE}"),
        host=(HWM, LS),
        trixie=(ZERO, LS),
        findings_host=_HIGH | _EQUAL,
    ),
    Row(
        "raw-preallocated",
        "1.2 file raw preallocated, HWM 0; 1.5 C",
        Disk("vde", _SIZE, options="preallocation=falloc"),
        host=(DU, LS),
        trixie=(DU, LS),
        findings=_EQUAL | _PREALLOCATED,
    ),
    Row(
        "raw-preallocated-written",
        "1.2 file raw preallocated, HWM > 0",
        Disk("vdf", _SIZE, options="preallocation=falloc"),
        io=(_FIRST,),
        host=(HWM, DU),
        trixie=(DU, LS),
        findings=_PREALLOCATED,
        findings_host=_HIGH,
        findings_trixie=_EQUAL,
    ),
    Row(
        "raw-preallocated-last-sector-written",
        "1.5 C with HWM == VSIZE",
        Disk("vdg", _SIZE, options="preallocation=falloc"),
        io=(_LAST,),
        host=(HWM, LS),
        trixie=(DU, LS),
        findings=_EQUAL | _PREALLOCATED,
    ),
    Row(
        "qcow2-untouched",
        "1.2 file qcow2",
        Disk("vdh", _SIZE, "qcow2"),
        host=(DU, LS),
        trixie=(DU, LS),
    ),
    Row(
        "qcow2-written",
        "1.2 file qcow2: right in every state",
        Disk("vdi", _SIZE, "qcow2"),
        io=(_FIRST, _LAST),
        host=(DU, LS),
        trixie=(DU, LS),
    ),
    Row(
        "qcow2-fallocated",
        "1.2 file qcow2 with fallocate -n",
        Disk("vdj", _SIZE, "qcow2", prepare=storage.fallocated("qcow2", _SIZE, keep_size=True)),
        host=(DU, LS),
        trixie=(DU, LS),
        findings=_PREALLOCATED,
    ),
    Row(
        "qcow2-fallocated-in-full",
        "1.5 F",
        Disk("vdk", _SIZE, "qcow2", prepare=storage.fallocated("qcow2", _SIZE, keep_size=False)),
        io=(_FIRST,),
        host=(DU, LS),
        trixie=(DU, LS),
        findings=_PREALLOCATED | _EQUAL,
    ),
    Row(
        "vmdk-written",
        "1.2 file other",
        Disk("vdl", _SIZE, "vmdk"),
        io=(_LAST,),
        host=(HWM, DU),
        trixie=(HWM, DU),
        findings=_HIGH,
    ),
    Row(
        "vdi-written",
        "1.2 file other",
        Disk("vdm", _SIZE, "vdi"),
        io=(_LAST,),
        host=(HWM, DU),
        trixie=(HWM, DU),
        findings=_HIGH,
    ),
    Row(
        "block-raw-untouched",
        "1.2 block raw, HWM 0",
        Disk("vdn", _SIZE, storage="block", prepare=storage.loop("raw", _SIZE)),
        host=(ZERO, LS),
        trixie=(ZERO, LS),
    ),
    Row(
        "block-raw-written",
        "1.2 block raw, HWM > 0; 1.3 block",
        Disk("vdo", _SIZE, storage="block", prepare=storage.loop("raw", _SIZE)),
        io=(_FIRST,),
        host=(HWM, LS),
        trixie=(ZERO, LS),
        findings_host=_HIGH,
    ),
    Row(
        "block-raw-last-sector-written",
        "1.5 E, running",
        Disk("vdp", _SIZE, storage="block", prepare=storage.loop("raw", _SIZE)),
        io=(_LAST,),
        host=(HWM, LS),
        trixie=(ZERO, LS),
        findings_host=_HIGH | _EQUAL,
    ),
    Row(
        "block-qcow2-untouched",
        "1.2 block qcow2, HWM 0",
        Disk("vdq", _SIZE, "qcow2", storage="block", prepare=storage.loop("qcow2", _SIZE)),
        host=(ZERO, LS),
        trixie=(ZERO, LS),
    ),
    Row(
        "block-qcow2-written",
        "1.2 block qcow2, HWM > 0",
        Disk("vdr", _SIZE, "qcow2", storage="block", prepare=storage.loop("qcow2", _SIZE)),
        io=(_FIRST,),
        host=(HWM, LS),
        trixie=(HWM, LS),
        findings=_HIGH,
    ),
    Row(
        "nbd-raw-untouched",
        "1.2 network raw, HWM 0; 1.5 A",
        Disk("vds", _SIZE, storage="nbd", prepare=storage.nbd("raw", _SIZE)),
        host=(VSIZE, VSIZE),
        trixie=(VSIZE, VSIZE),
        findings=_UNKNOWN | _EQUAL,
    ),
    Row(
        "nbd-raw-written",
        "1.2 network raw, HWM > 0; 1.3 network; 1.5 G",
        Disk("vdt", _SIZE, storage="nbd", prepare=storage.nbd("raw", _SIZE)),
        io=(_FIRST,),
        host=(HWM, VSIZE),
        trixie=(VSIZE, VSIZE),
        findings=_UNKNOWN,
        findings_host=_HIGH,
        findings_trixie=_EQUAL,
    ),
    Row(
        "nbd-raw-last-sector-written",
        "1.5 B, network",
        Disk("vdu", _SIZE, storage="nbd", prepare=storage.nbd("raw", _SIZE)),
        io=(_LAST,),
        host=(HWM, VSIZE),
        trixie=(VSIZE, VSIZE),
        findings=_UNKNOWN | _EQUAL,
        findings_host=_HIGH,
    ),
    Row(
        "nbd-qcow2-written",
        "1.2 network qcow2, HWM > 0",
        Disk("vdv", _SIZE, "qcow2", storage="nbd", prepare=storage.nbd("qcow2", _SIZE)),
        io=(_FIRST,),
        host=(HWM, VSIZE),
        trixie=(HWM, VSIZE),
        findings=_UNKNOWN | _HIGH,
    ),
    Row(
        "qcow2-external-data-file",
        "1.2 file qcow2; 3. DU is the sum of both files",
        Disk("vdw", _SIZE, "qcow2", prepare=storage.external_data(_SIZE)),
        io=(_FIRST,),
        host=(SUM, LS),
        trixie=(SUM, LS),
        findings=frozenset({"external-data-file"}),
    ),
    Row(
        "qcow2-overlay",
        "1.6 overlay only: the backing chain is excluded",
        Disk("vdx", _SIZE, "qcow2", prepare=storage.overlay("shared-base.raw", _SIZE, 8 * MIB)),
        io=(_FIRST,),
        host=(DU, LS),
        trixie=(DU, LS),
        findings=frozenset({"shared-backing"}),
    ),
    Row(
        "qcow2-second-overlay-on-the-same-base",
        "1.6 overlay only: the backing chain is excluded",
        Disk("vdy", _SIZE, "qcow2", prepare=storage.overlay("shared-base.raw", _SIZE, 8 * MIB)),
        host=(DU, LS),
        trixie=(DU, LS),
        findings=frozenset({"shared-backing"}),
    ),
    Row(
        "qcow2-internal-snapshot",
        "1.6 qcow2 DU includes internal snapshots",
        Disk("vdz", _SIZE, "qcow2", prepare=storage.with_snapshot(_SIZE, 4 * MIB)),
        host=(DU, LS),
        trixie=(DU, LS),
        findings=frozenset({"internal-snapshots"}),
    ),
    Row(
        "cdrom-empty",
        "1.2 empty cdrom",
        Disk("sda", storage="empty", device="cdrom"),
        host=INVALID_ARG,
        trixie=INVALID_ARG,
    ),
)

_BY_NAME = {row.name: row for row in RUNNING}

#: the same disks after the domain was destroyed and started: a new QEMU has written nothing
RESTARTED = (
    dataclasses.replace(
        _BY_NAME["raw-last-sector-written"],
        name="raw-restarted",
        table="1.6 the high-water mark begins anew with QEMU",
        host=(DU, LS),
        trixie=(DU, LS),
        findings_host=frozenset(),
    ),
    dataclasses.replace(
        _BY_NAME["block-raw-written"],
        name="block-raw-restarted",
        table="1.6 the high-water mark begins anew with QEMU",
        host=(ZERO, LS),
        trixie=(ZERO, LS),
        findings_host=frozenset(),
    ),
)

#: libvirt is asked directly here; the product never asks about a domain that does not run
OFF = (
    Row(
        "off-raw",
        "1.4 file",
        Disk("vda", _SIZE, prepare=storage.raw_holding(_SIZE, MIB)),
        host=(DU, LS),
        trixie=(DU, LS),
    ),
    Row(
        "off-qcow2",
        "1.4 file",
        Disk("vdb", _SIZE, "qcow2"),
        host=(DU, LS),
        trixie=(DU, LS),
    ),
    Row(
        "off-block-raw",
        "1.4 block raw; 1.5 E, shut off",
        Disk("vdc", _SIZE, storage="block", prepare=storage.loop("raw", _SIZE)),
        host=(LS, LS),
        trixie=(LS, LS),
        findings=_EQUAL,
    ),
    Row(
        "off-block-qcow2",
        "1.4 block non-raw",
        Disk("vdd", _SIZE, "qcow2", storage="block", prepare=storage.loop("qcow2", _SIZE)),
        host=(ZERO, LS),
        trixie=(ZERO, LS),
    ),
    Row(
        "off-nbd",
        "1.4 network",
        Disk("vde", _SIZE, storage="nbd", prepare=storage.nbd("raw", _SIZE)),
        host=INTERNAL,
        trixie=INTERNAL,
        findings=_UNKNOWN | {"virtual-size-unknown"},
    ),
    Row(
        "off-raw-preallocated",
        "1.5 C, shut off",
        Disk("vdf", _SIZE, options="preallocation=falloc"),
        host=(DU, LS),
        trixie=(DU, LS),
        findings=_PREALLOCATED | _EQUAL,
    ),
    Row(
        "off-volume",
        "1.4 volume that no start has translated",
        Disk(
            "vdg",
            _SIZE,
            "qcow2",
            storage="volume",
            source="pooled-off.qcow2",
            prepare=storage.volume("qcow2", _SIZE),
        ),
        host=INTERNAL,
        trixie=INTERNAL,
        findings=_UNKNOWN | {"virtual-size-unknown"},
    ),
)

# What QEMU makes of a directory: 1024 cylinders of 16 heads and 63 sectors.
_VVFAT = 1024 * 16 * 63 * 512

_SECRET = (
    f'<encryption format="luks"><secret type="passphrase" uuid="{storage.LUKS_SECRET}"/>'
    "</encryption>"
)

SPECIAL = (
    Row(
        "luks-written",
        "1.2 file other",
        Disk("vda", _SIZE, prepare=storage.luks(_SIZE), extra=_SECRET),
        io=(_LAST,),
        host=(HWM, DU),
        trixie=(HWM, DU),
        findings=_HIGH,
    ),
    Row(
        "volume-qcow2",
        "1.2 volume: as the type of its pool",
        Disk(
            "vdb",
            _SIZE,
            "qcow2",
            storage="volume",
            source="pooled.qcow2",
            prepare=storage.volume("qcow2", _SIZE),
        ),
        io=(_FIRST,),
        host=(DU, LS),
        trixie=(DU, LS),
    ),
    Row(
        "volume-raw",
        "1.2 volume: as the type of its pool",
        Disk(
            "vdc",
            _SIZE,
            storage="volume",
            source="pooled.raw",
            prepare=storage.volume("raw", _SIZE),
        ),
        io=(_FIRST, _LAST),
        host=(HWM, DU),
        trixie=(DU, LS),
        findings_host=_HIGH,
    ),
    Row(
        "directory",
        "1.2 dir (vvfat)",
        Disk(
            "vdd",
            _VVFAT,
            "fat",
            storage="dir",
            source="shown",
            readonly=True,
            prepare=storage.directory,
        ),
        host=(VSIZE, ZERO),
        trixie=(VSIZE, ZERO),
        findings=_UNKNOWN,
    ),
    Row(
        "raw-reflinked",
        "1.6 reflink: both files count the blocks that they share",
        Disk(
            "vde",
            _SIZE,
            source="reflink/clone.raw",
            prepare=storage.reflinked(_SIZE, 8 * MIB),
        ),
        host=(DU, LS),
        trixie=(DU, LS),
        findings=frozenset({"reflink-shared"}),
    ),
)

VHOST_USER = (
    Row(
        "vhost-user",
        "1.2 vhost-user",
        Disk(
            "vda",
            _SIZE,
            storage="vhostuser",
            source="vhost.sock",
            prepare=storage.vhost_user(_SIZE),
        ),
        host=UNSUPPORTED,
        trixie=UNSUPPORTED,
        findings=_UNKNOWN | {"virtual-size-unknown"},
    ),
)

# SPDX-License-Identifier: Apache-2.0
"""The closed catalogue of conclusions: code, severity, cause, and what to do.

A finding is how an unknown number, a misleading number or a surprise gets its reason. Codes are
stable: operators alert on them. Severity ``error`` means exactly: a number that the storage or
the hypervisor should have given could not be had, so the instance is not fully audited (exit
status 1). A guest that says nothing, or nonsense, is never an error of the host.

Pure: no I/O, no clock. ``doc/`` generates its page of findings from :data:`CATALOGUE`.
"""

from __future__ import annotations

import msgspec

from nova_diskaudit.record import Finding, Severity


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of finding. ``cause`` is one sentence; ``action`` tells the operator what to do."""

    code: str
    severity: Severity
    cause: str
    action: str


_NOTHING = "Nothing to do."

_ENTRIES = (
    # --- why libvirt's numbers mislead ---
    Entry(
        code="allocation-is-high-water-mark",
        severity="info",
        cause="The allocation that virsh domblkinfo prints is the highest offset ever written "
        "since QEMU started, not the bytes in use; it never falls.",
        action="Read host_allocated_bytes instead.",
    ),
    Entry(
        code="triple-equal",
        severity="info",
        cause="Capacity, allocation and physical of virsh domblkinfo are equal, which says "
        "nothing about use.",
        action="Read host_allocated_bytes and the guest's claim; the letter names the cause, "
        "see the page on numbers.",
    ),
    # --- what the storage holds ---
    Entry(
        code="preallocated",
        severity="info",
        cause="The file was reserved in full when it was made, so the bytes held say nothing "
        "about what was written.",
        action="Use sparse images, or discard='unmap' with fstrim in the guest, if the space "
        "is needed elsewhere.",
    ),
    Entry(
        code="untrimmed",
        severity="warning",
        cause="The storage still holds blocks that the guest's filesystems no longer use.",
        action="Run fstrim in the guest (reclaimable tells how much is to be gained).",
    ),
    Entry(
        code="discard-disabled",
        severity="warning",
        cause="The disk is not defined with discard='unmap', so an fstrim in the guest frees "
        "nothing on the host.",
        action="Set discard='unmap' (Nova: [libvirt] hw_disk_discard = unmap), restart the "
        "instance, then run fstrim in it.",
    ),
    Entry(
        code="internal-snapshots",
        severity="info",
        cause="The qcow2 file contains internal snapshots, whose blocks it keeps whatever the "
        "guest deletes.",
        action="Delete snapshots that are no longer needed.",
    ),
    Entry(
        code="reflink-shared",
        severity="info",
        cause="Some extents of the file are shared with other files, so the bytes held are "
        "counted in each of them.",
        action="Do not add up host_allocated_bytes of files that share extents.",
    ),
    Entry(
        code="shared-backing",
        severity="info",
        cause="The disk is an overlay: what it never wrote is read from a backing image, whose "
        "bytes are shared and charged to nobody.",
        action=_NOTHING + " The guest may rightly use more than the overlay holds.",
    ),
    Entry(
        code="backing-chain-unknown",
        severity="info",
        cause="The image has a backing file that the domain XML does not name; names inside an "
        "image are never followed.",
        action=_NOTHING + " libvirt names the chain once the domain runs.",
    ),
    Entry(
        code="external-data-file",
        severity="info",
        cause="The qcow2 file keeps its data in another file; the bytes held are those QEMU "
        "reports for both.",
        action=_NOTHING,
    ),
    Entry(
        code="external-data-unknown",
        severity="info",
        cause="The qcow2 file keeps its data in another file, which only a running QEMU may be "
        "believed to name.",
        action="Start the domain to learn what it holds.",
    ),
    Entry(
        code="host-allocation-unknown",
        severity="info",
        cause="The host cannot tell how many bytes the storage holds for this kind of disk.",
        action="Ask the storage itself (Cinder, rbd du, lvs, the array).",
    ),
    Entry(
        code="virtual-size-unknown",
        severity="info",
        cause="The promised size of this disk is known only while its domain runs and answers.",
        action=_NOTHING,
    ),
    Entry(
        code="file-missing",
        severity="error",
        cause="The domain names a file that is not there.",
        action="Restore the file or correct the domain; if libvirt runs in a container, give "
        "--path-map.",
    ),
    Entry(
        code="permission-denied",
        severity="error",
        cause="This process may not look at the file.",
        action="Run as root, or as a user that may search the directories of the images.",
    ),
    Entry(
        code="not-a-regular-file",
        severity="error",
        cause="The domain calls it a file or a block device, but it is something else.",
        action="Correct the domain.",
    ),
    Entry(
        code="image-header-invalid",
        severity="warning",
        cause="The file does not begin as its format demands, so its promised size is unknown.",
        action="Check the image (never with an automatic format probe).",
    ),
    Entry(
        code="storage-unresponsive",
        severity="error",
        cause="The storage of this disk did not answer a stat in time; libvirt was not asked "
        "about any domain on it, because such a call could freeze libvirtd.",
        action="Look at the mount (NFS server, FUSE process, multipath).",
    ),
    Entry(
        code="storage-error",
        severity="error",
        cause="The storage answered a look at this disk with an error.",
        action="Look at the mount and at the kernel log.",
    ),
    Entry(
        code="no-medium",
        severity="info",
        cause="The drive is empty.",
        action=_NOTHING,
    ),
    # --- what the hypervisor says ---
    Entry(
        code="qemu-unresponsive",
        severity="error",
        cause="QEMU of this domain is stopped, waits for storage, or holds an unfinished job; "
        "it was not asked, so libvirt's numbers are missing.",
        action="Look at the process state of QEMU and at its storage.",
    ),
    Entry(
        code="inventory-stale",
        severity="warning",
        cause="libvirt did not give the list of its domains in this cycle, so the last one stands "
        "and only the storage was asked.",
        action="See whether libvirtd or virtqemud runs and answers (virsh list); the next cycle "
        "tries again.",
    ),
    Entry(
        code="libvirt-busy",
        severity="warning",
        cause="Earlier questions to a hypervisor are still unanswered and hold all the tokens, "
        "so this one was not asked.",
        action="Find the domain with qemu-unresponsive or agent-timeout; host numbers go on.",
    ),
    Entry(
        code="no-connection",
        severity="error",
        cause="libvirt was not there to be asked, or hung up in the middle of the question.",
        action="Look at libvirtd or virtqemud and its log; the next look connects by itself.",
    ),
    Entry(
        code="evidence-missing",
        severity="info",
        cause="libvirt gave no block numbers for this disk.",
        action=_NOTHING,
    ),
    Entry(
        code="domain-unreadable",
        severity="error",
        cause="libvirt did not describe this domain in time, or described it with an error.",
        action="Try virsh dumpxml; if it hangs, look at libvirtd.",
    ),
    Entry(
        code="domain-gone",
        severity="info",
        cause="The domain disappeared while it was being audited.",
        action=_NOTHING,
    ),
    Entry(
        code="audit-deadline",
        severity="error",
        cause="The time given by --timeout was over before this part was audited.",
        action="Give more time, or look for what is slow on this host.",
    ),
    # --- what the guest says ---
    Entry(
        code="guest-not-asked",
        severity="info",
        cause="The guest agent was not asked (--no-guest).",
        action=_NOTHING,
    ),
    Entry(
        code="guest-stats-off",
        severity="info",
        cause="The flavor says diskaudit:guest_stats=off, so the guest agent was not asked.",
        action=_NOTHING,
    ),
    Entry(
        code="guest-stats-missing",
        severity="warning",
        cause="The flavor says diskaudit:guest_stats=required, and this running guest did not tell "
        "what it uses.",
        action="See the code in brackets for why, and have the guest agent installed, allowed and "
        "running in the guest.",
    ),
    Entry(
        code="guest-not-permitted",
        severity="info",
        cause="The guest agent may only be asked over a read-write libvirt connection, which "
        "was not to be had.",
        action="Run as a user who may write to libvirt, or use --no-guest.",
    ),
    Entry(
        code="guest-not-running",
        severity="info",
        cause="The domain is not running, so its guest cannot say anything.",
        action=_NOTHING,
    ),
    Entry(
        code="agent-absent",
        severity="info",
        cause="The domain has no guest agent channel.",
        action="Set hw_qemu_guest_agent=yes on the image and install qemu-guest-agent in it.",
    ),
    Entry(
        code="agent-disconnected",
        severity="info",
        cause="The channel is there, but no agent in the guest has opened it.",
        action="Install and start qemu-guest-agent in the guest.",
    ),
    Entry(
        code="agent-timeout",
        severity="warning",
        cause="The guest agent did not answer in time.",
        action="Restart qemu-guest-agent in the guest, or look at what hangs there.",
    ),
    Entry(
        code="agent-frozen",
        severity="info",
        cause="The guest's filesystems are frozen (a backup or snapshot), and a frozen agent "
        "answers no such question.",
        action="If it stays so: virsh domfsthaw.",
    ),
    Entry(
        code="agent-refused",
        severity="info",
        cause="The guest agent is configured or built not to answer this question.",
        action="Allow guest-get-fsinfo in the agent's configuration of the guest.",
    ),
    Entry(
        code="agent-error",
        severity="info",
        cause="The guest agent answered with an error.",
        action="Read the agent's log in the guest.",
    ),
    Entry(
        code="agent-reply-invalid",
        severity="warning",
        cause="What came from the guest agent is too large or not of the agent's form; nothing "
        "of it was used.",
        action="Look at what runs as the agent in the guest.",
    ),
    Entry(
        code="agent-without-byte-counts",
        severity="info",
        cause="The guest agent reports filesystems without byte counts (before QEMU 3.0, or a "
        "volume that is not mounted).",
        action="Update qemu-guest-agent in the guest.",
    ),
    Entry(
        code="guest-claim-implausible",
        severity="warning",
        cause="A filesystem claims a negative or wrapped number, or more used than its own "
        "total; the claim enters no sum.",
        action="Distrust this guest's numbers (agents of 32-bit guests wrap at 4 GiB).",
    ),
    Entry(
        code="guest-claim-exceeds-disk",
        severity="info",
        cause="A filesystem claims more used bytes than its disk has, as thin volumes and "
        "compressing filesystems may; it is shown and not summed.",
        action=_NOTHING,
    ),
    Entry(
        code="filesystem-spans-disks",
        severity="info",
        cause="A filesystem lies, or may lie, on several disks, and nobody can say how much of "
        "it is on which.",
        action=_NOTHING,
    ),
    Entry(
        code="filesystem-unattributed",
        severity="info",
        cause="A filesystem of the guest could not be traced to one of the domain's disks.",
        action="Give the disks a <serial>, or update qemu-guest-agent.",
    ),
    # --- the host as a whole ---
    Entry(
        code="storage-scan-incomplete",
        severity="info",
        cause="The directory of the instances was too large or not readable, so image cache "
        "and leftovers are not known in full.",
        action="Give --config-file with [audit] instances_path, or run as root.",
    ),
    # --- what the central service finds ---
    Entry(
        code="two-agents-one-host",
        severity="warning",
        cause="Another agent wanted to report for this host while the one that does is alive; it "
        "was refused.",
        action="Give each compute node a host name of its own ([DEFAULT] host), and each agent "
        "its own state_path.",
    ),
    Entry(
        code="clock-skew",
        severity="warning",
        cause="The clock of the host and that of the central service differ by more than a "
        "minute; times from the future were replaced by the time of receipt.",
        action="See to the time synchronisation of the host.",
    ),
    Entry(
        code="host-claim-implausible",
        severity="warning",
        cause="The host reports more than can be: disks that hold more than their filesystem "
        "has, or that are larger than the flavor promises.",
        action="Look at the host and its agent; until then distrust what it reports.",
    ),
    # --- what the central service finds when it compares ---
    Entry(
        code="claim-mismatch",
        severity="warning",
        cause="Placement was promised another number of GiB for this instance than its local disks "
        "were made with, and no rule of Nova explains the difference.",
        action="Compare the allocation (openstack resource provider allocation show) with the "
        "flavor; nova-manage placement heal_allocations or audit mends what Nova lost.",
    ),
    Entry(
        code="claim-explained",
        severity="info",
        cause="Placement was promised another number of GiB for this instance than its local disks "
        "were made with, and a rule of Nova explains it.",
        action=_NOTHING + " Quota counts what Placement was promised.",
    ),
    Entry(
        code="instance-without-domain",
        severity="error",
        cause="Nova has this instance on a host whose libvirt does not know it.",
        action="Look at the instance and at nova-compute's log of the host; a hard reboot defines "
        "the domain anew, if its disks are there.",
    ),
    Entry(
        code="instance-not-in-nova",
        severity="warning",
        cause="A domain was made by Nova, and Nova has no such instance (any more).",
        action="Look whether somebody needs it; if not, undefine the domain and remove its disks "
        "(Nova: [DEFAULT] running_deleted_instance_action).",
    ),
    Entry(
        code="instance-elsewhere",
        severity="warning",
        cause="This host has a domain of an instance that Nova has on another host, or on none.",
        action="It is most often left by an evacuation or a migration that failed: restart "
        "nova-compute here, or undefine the domain after a look at it.",
    ),
    Entry(
        code="instance-on-two-hosts",
        severity="warning",
        cause="Several hosts have a domain of this instance, and no migration is open: if two of "
        "them run on the same disk, they destroy it.",
        action="See that only the one on the host that Nova names runs; then remove the others.",
    ),
    Entry(
        code="orphan-disk-file",
        severity="warning",
        cause="Among the instances lie files that belong to no instance of Nova and to no domain.",
        action="Look at them, and remove them if nobody needs them.",
    ),
    Entry(
        code="resize-leftover",
        severity="warning",
        cause="The old disks of a resize or migration are still there, although it is over.",
        action="Remove the directory whose name ends in _resize, after a look at the instance.",
    ),
    Entry(
        code="stale",
        severity="warning",
        cause="The host has not reported for long: what is known of it and its instances is old.",
        action="See whether the host and its agent run (nova-diskaudit doctor there).",
    ),
)

CATALOGUE: dict[str, Entry] = {entry.code: entry for entry in _ENTRIES}


def finding(code: str, detail: str | None = None) -> Finding:
    """Make a finding of a known ``code``; ``detail`` says what was seen, in one clause.

    :raises KeyError: for a code that is not in the catalogue.
    """
    entry = CATALOGUE[code]
    message = f"{entry.cause} ({detail})" if detail else entry.cause
    return Finding(code=code, severity=entry.severity, message=message)

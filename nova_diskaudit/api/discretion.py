# SPDX-License-Identifier: Apache-2.0
"""What a project's reader is not told: where and how a host keeps the instance.

The words of a finding are a cause out of the catalogue and what was seen, and that is most often a
path of the host, or what its libvirt said. A tenant gets the cause alone, unless what was seen is
the guest's own word.
"""

from __future__ import annotations

import msgspec

from nova_diskaudit import findings, record

#: What was seen is what the guest itself has told.
_OF_THE_GUEST = frozenset(
    {
        "agent-without-byte-counts",
        "filesystem-spans-disks",
        "filesystem-unattributed",
        "guest-claim-exceeds-disk",
        "guest-claim-implausible",
    }
)


def message(code: str, said: str) -> str:
    """The words of a finding; of a code that this release does not know, none."""
    if code in _OF_THE_GUEST:
        return said
    entry = findings.CATALOGUE.get(code)
    return entry.cause if entry is not None else ""


def disk(one: record.Disk) -> record.Disk:
    """A disk without where it is stored."""
    return msgspec.structs.replace(
        one,
        source=None,
        identity=None,
        storage_identity=None,
        findings=tuple(
            msgspec.structs.replace(found, message=message(found.code, found.message))
            for found in one.findings
        ),
    )

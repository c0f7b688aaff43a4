# SPDX-License-Identifier: Apache-2.0
"""Storage that this host only reaches through QEMU: recognised, and not measured.

The QEMU drivers behind most of these cannot tell what is held either, and libvirt then shows the
capacity in its place (libvirt 9.0 ``qemuMonitorJSONQueryBlockstats``); here it stays unknown.
"""

from __future__ import annotations

from nova_diskaudit.facts import Layer, LayerFacts
from nova_diskaudit.host.storage.view import View

STORAGES = ("network", "volume", "dir", "nvme", "vhostuser", "vhostvdpa")

# Names that mean the same thing on every host of one cloud: pool/image, and iqn/lun.
_GLOBAL_NAMES = frozenset({"rbd", "iscsi"})


def probe(layer: Layer, view: View) -> LayerFacts:
    """Facts of one network disk; see :class:`nova_diskaudit.host.storage.Probe`."""
    kind, _, protocol = layer.storage.partition(":")
    what = protocol or kind
    return LayerFacts(
        identity=f"{what}:{layer.source}" if what in _GLOBAL_NAMES and layer.source else None,
        code="host-allocation-unknown",
        detail=f"this host cannot measure what {what!r} storage holds",
    )

# SPDX-License-Identifier: Apache-2.0
"""Storage probes: what the storage holds for one layer of a disk. One file a backend.

A module of this package that defines ``STORAGES`` is a backend: the layers it serves, as
``Layer.storage`` names them (``file``, ``network:rbd``; ``network`` serves every protocol that
has no backend of its own), and ``probe(layer, view)``, which obeys :class:`Probe`. To add a
backend is to add such a file; ``tests/contract`` then holds it to the same rules.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Protocol

from nova_diskaudit.facts import Layer, LayerFacts, Process
from nova_diskaudit.host.storage.view import View


class Probe(Protocol):
    """What a backend's ``probe`` promises.

    It never raises: what it cannot find out is None with a ``code`` and a ``detail``, never 0 and
    never the capacity. It opens no name found inside an image, writes nothing, takes no lock.
    It may hang with the storage, and only its lane does.
    """

    def __call__(self, layer: Layer, view: View) -> LayerFacts:
        """Find out what the storage says about ``layer``, looked for through ``view``."""


def _discover() -> dict[str, Probe]:
    probes: dict[str, Probe] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for storage in getattr(module, "STORAGES", ()):
            probes[storage] = module.probe
    return probes


PROBES = _discover()


def probe_layers(
    layers: list[Layer],
    process: Process | None = None,
    path_map: Sequence[tuple[str, str]] = (),
) -> list[LayerFacts]:
    """Facts of each layer, in the same order.

    ``process`` is the QEMU that uses them: where libvirt runs in a container, paths that do not
    exist here are found below its root. ``path_map`` replaces prefixes of paths, first of all.
    """
    view = View(process=process, path_map=tuple(path_map))
    return [_probe(layer, view) for layer in layers]


def _probe(layer: Layer, view: View) -> LayerFacts:
    probe = PROBES.get(layer.storage) or PROBES.get(layer.storage.partition(":")[0])
    if probe is None:
        return LayerFacts(
            code="host-allocation-unknown",
            detail=f"disks of type {layer.storage!r} are not known",
        )
    return probe(layer, view)

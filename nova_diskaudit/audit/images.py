# SPDX-License-Identifier: Apache-2.0
"""A look at image files that survives storage which hangs.

A hung mount costs one deadline, not one for every file on it: which mount a path lies on is
judged by its text alone, since asking the kernel might hang as well.
"""

from __future__ import annotations

import os.path
from collections.abc import Collection, Iterable, Sequence

from nova_diskaudit.audit.question import Questions
from nova_diskaudit.facts import Doubt, Layer, LayerFacts, Mount, Process, Signature
from nova_diskaudit.lane import operations
from nova_diskaudit.paths import mapped

_UNRESPONSIVE = "storage-unresponsive"


class Hung:
    """What of the storage hangs: by mount or directory, the subject of the unanswered question.

    It hangs as long as that question has no answer, so asking again would only pile up more.
    """

    def __init__(self) -> None:
        self.mounts: dict[str, str] = {}
        self.directories: dict[str, str] = {}

    def keep(self, unanswered: Collection[str]) -> None:
        """Forget what has answered since: whose question is not among the unanswered ones."""
        for known in (self.mounts, self.directories):
            for path in [p for p, s in list(known.items()) if s not in unanswered]:
                known.pop(path, None)


class Images:
    """The images of one host, and what of its storage was found hanging so far."""

    def __init__(
        self, questions: Questions, path_map: Sequence[tuple[str, str]], hung: Hung | None = None
    ) -> None:
        self._questions = questions
        self._path_map = list(path_map)
        self._mounts: Sequence[Mount] = ()
        self._mount_points: frozenset[str] = frozenset()
        self._mount_of_directory: dict[str, str] = {}
        self.hung = hung if hung is not None else Hung()

    @property
    def mounts(self) -> Sequence[Mount]:
        """The mounts of this host."""
        return self._mounts

    @mounts.setter
    def mounts(self, mounts: Sequence[Mount]) -> None:
        self._mounts = mounts
        self._mount_points = frozenset(mount.path for mount in mounts)
        self._mount_of_directory = {}

    def look_at(
        self, layers: Iterable[Layer], process: Process | None, subject: str
    ) -> dict[Layer, LayerFacts]:
        """Look at some images of one domain, those of each mount in one question.

        :param process: the QEMU of the domain, whose view of the filesystem helps where libvirt
            runs in a container.
        """
        facts: dict[Layer, LayerFacts] = {}
        by_mount: dict[str, list[Layer]] = {}
        for layer in dict.fromkeys(layers):
            path = self.path(layer)
            if path is not None and os.path.dirname(path) in self.hung.directories:
                facts[layer] = LayerFacts(code=_UNRESPONSIVE)
            else:
                by_mount.setdefault(self._mount_of(path) if path else "", []).append(layer)
        for mount, group in by_mount.items():
            answer = self._look(mount, group, process, subject)
            if isinstance(answer, Doubt):
                if answer.code == _UNRESPONSIVE and mount not in self.hung.mounts:
                    self._blame(mount, group, subject)
                answer = [LayerFacts(code=answer.code, detail=answer.detail)] * len(group)
            facts.update(zip(group, answer, strict=True))
        return facts

    def signatures(
        self, images: Iterable[tuple[Layer, Process | None]]
    ) -> dict[Layer, Signature | None]:
        """What proves that an image did not change, those of each mount in one question.

        None for what cannot be proven, and for what hangs.
        """
        found: dict[Layer, Signature | None] = {}
        by_mount: dict[str, list[tuple[Layer, Process | None]]] = {}
        for layer, process in dict(images).items():
            path = self.path(layer)
            if path is None or self.hangs(path):
                found[layer] = None
            else:
                by_mount.setdefault(self._mount_of(path), []).append((layer, process))
        for mount, group in by_mount.items():
            subject = f"signatures of {mount}"
            answer = self._questions.ask(
                operations.SIGNATURES,
                group,
                self._path_map,
                seconds=self._questions.deadlines.storage,
                missed=_UNRESPONSIVE,
                subject=subject,
            )
            layers = [layer for layer, _ in group]
            if isinstance(answer, Doubt):
                # One directory may be to blame, which the look at each domain will tell.
                answer = [None] * len(group)
            found.update(zip(layers, answer, strict=True))
        return found

    def hangs(self, path: str) -> bool:
        """Whether this path is known to hang."""
        if not self.hung.mounts and not self.hung.directories:
            return False
        return (
            self._mount_of(path) in self.hung.mounts
            or path in self.hung.directories
            or os.path.dirname(path) in self.hung.directories
        )

    def path(self, layer: Layer) -> str | None:
        """Where this process finds an image; None for what is no path of this host."""
        if layer.storage not in ("file", "block", "dir") or not layer.source:
            return None
        return mapped(layer.source, self._path_map)

    def _look(
        self, mount: str, layers: list[Layer], process: Process | None, subject: str
    ) -> list[LayerFacts] | Doubt:
        if mount in self.hung.mounts:
            return Doubt(code=_UNRESPONSIVE)
        return self._questions.ask(
            operations.PROBE_LAYERS,
            layers,
            process,
            self._path_map,
            seconds=self._questions.deadlines.storage,
            missed=_UNRESPONSIVE,
            subject=subject,
        )

    def _blame(self, mount: str, layers: Iterable[Layer], subject: str) -> None:
        """Find out what hangs: the mount, or only what these directories lead to.

        A path may leave its mount through a symbolic link, and one hung target must not make
        every other domain of the root filesystem look hung.
        """
        for layer in layers:
            self.hung.directories[os.path.dirname(self.path(layer) or "")] = subject
        answer = self._questions.ask(
            operations.FILESYSTEM,
            mount,
            seconds=self._questions.deadlines.storage,
            missed=_UNRESPONSIVE,
            subject=mount,
        )
        if isinstance(answer, Doubt):
            self.hung.mounts[mount] = mount

    def _mount_of(self, path: str) -> str:
        if path in self._mount_points:
            return path
        # Hundreds of disks lie in a few directories.
        directory = path.rpartition("/")[0]
        known = self._mount_of_directory.get(directory)
        if known is None:
            known = directory
            while len(known) > 1 and known not in self._mount_points:
                known = os.path.dirname(known)
            known = known or "/"
            self._mount_of_directory[directory] = known
        return known

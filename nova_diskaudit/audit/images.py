# SPDX-License-Identifier: Apache-2.0
"""A look at image files that survives storage which hangs.

A hung mount costs one deadline, not one for every file on it: which mount a path lies on is
judged by its text alone, since asking the kernel might hang as well.
"""

from __future__ import annotations

import os.path
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

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


class Look(NamedTuple):
    """Images of one domain that are to be looked at.

    ``process``: the QEMU that uses them, whose view of the filesystem helps where libvirt runs in
    a container. ``subject``: what a missed deadline is about.
    """

    layers: Iterable[Layer]
    process: Process | None
    subject: str


class _Share(NamedTuple):
    """What of a look lies on one mount and has no facts yet; ``facts`` takes them up."""

    layers: list[Layer]
    process: Process | None
    subject: str
    facts: dict[Layer, LayerFacts]


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
        """Look at some images of one domain, as :meth:`look_at_each`."""
        (facts,) = self.look_at_each([Look(layers, process, subject)])
        return facts

    def look_at_each(self, looks: Sequence[Look]) -> list[dict[Layer, LayerFacts]]:
        """Look at images of some domains, those of each mount in one question."""
        facts: list[dict[Layer, LayerFacts]] = [{} for _ in looks]
        by_mount: dict[str, list[_Share]] = {}
        for look, found in zip(looks, facts, strict=True):
            shares: dict[str, _Share] = {}
            for layer in dict.fromkeys(look.layers):
                path = self.path(layer)
                mount = self._mount_of(path) if path else ""
                if mount not in shares:
                    shares[mount] = _Share([], look.process, look.subject, found)
                    by_mount.setdefault(mount, []).append(shares[mount])
                shares[mount].layers.append(layer)
        for mount, wanted in by_mount.items():
            self._look(mount, wanted)
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

    def _look(self, mount: str, shares: Sequence[_Share]) -> None:
        while shares:
            # Each time anew, for what hangs may be known by now.
            for share in shares:
                self._leave_out_what_hangs(mount, share)
            shares = [share for share in shares if share.layers]
            if not shares:
                return
            answers = self._questions.ask_each(
                operations.PROBE_LAYERS,
                [(share.layers, share.process, self._path_map) for share in shares],
                seconds=self._questions.deadlines.storage,
                missed=_UNRESPONSIVE,
                subjects=[share.subject for share in shares],
            )
            for share, answer in zip(shares, answers, strict=False):
                if isinstance(answer, Doubt):
                    if answer.code == _UNRESPONSIVE and mount not in self.hung.mounts:
                        self._blame(mount, share.layers, share.subject)
                    answer = [LayerFacts(code=answer.code, detail=answer.detail)] * len(
                        share.layers
                    )
                share.facts.update(zip(share.layers, answer, strict=True))
            shares = shares[len(answers) :]

    def _leave_out_what_hangs(self, mount: str, share: _Share) -> None:
        if not self.hung.mounts and not self.hung.directories:
            return
        hung = [
            layer
            for layer in share.layers
            if mount in self.hung.mounts or self._directory(layer) in self.hung.directories
        ]
        for layer in hung:
            share.layers.remove(layer)
            share.facts[layer] = LayerFacts(code=_UNRESPONSIVE)

    def _directory(self, layer: Layer) -> str | None:
        path = self.path(layer)
        return None if path is None else os.path.dirname(path)

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

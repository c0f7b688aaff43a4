# SPDX-License-Identifier: Apache-2.0
"""libvirt's block numbers of running domains: asked of several together, doubted of each alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from nova_diskaudit.audit.images import Images
from nova_diskaudit.audit.question import Questions, known_doubt
from nova_diskaudit.audit.subject import Subject
from nova_diskaudit.facts import BlockInfo, Control, Doubt, Process
from nova_diskaudit.lane import operations

_CONTROL_SECONDS = 1.0
# A question of ours that missed its deadline has been a job of that domain for longer than this.
_STUCK_MILLISECONDS = 1000
_UNRESPONSIVE = "qemu-unresponsive"


class Evidence:
    """Asks for it, and leaves what was found with each subject.

    :param left_alone: why the QEMU of a subject is not to be asked now; None when it is.
    """

    def __init__(
        self, questions: Questions, images: Images, left_alone: Callable[[Subject], Doubt | None]
    ) -> None:
        self._questions = questions
        self._images = images
        self._left_alone = left_alone

    def look_at(self, several: Sequence[Subject]) -> None:
        """Block statistics of some domains in one question."""
        asked = [(subject, process) for subject in several if (process := self._whom(subject))]
        if not asked:
            return
        answers = self._questions.ask(
            operations.BLOCK_STATS,
            [(subject.uuid, process) for subject, process in asked],
            seconds=self._questions.deadlines.evidence,
            missed=_UNRESPONSIVE,
            subject=asked[0][0].uuid,
        )
        for subject, process in asked:
            if isinstance(answers, Doubt):
                single = len(asked) == 1
                doubt = answers if single else self._own_part(answers, subject, process)
                subject.doubts.append(doubt)
                if doubt.code == _UNRESPONSIVE:
                    subject.missed.add("evidence")
                continue
            answer = answers.get(subject.uuid)
            if answer is not None and answer.code is not None:
                subject.doubts.append(known_doubt(answer.code, answer.detail, _UNRESPONSIVE))
            elif answer is not None:
                subject.stats = answer.disks
                self._resolve(subject)

    def of_disk(self, subject: Subject, target: str) -> BlockInfo | Doubt | None:
        """What ``domblkinfo`` prints of a disk; None when the domain may not be asked."""
        if not subject.may_be_asked or subject.process is None:
            return None
        return self._questions.ask(
            operations.BLOCK_INFO,
            subject.uuid,
            target,
            subject.process,
            seconds=self._questions.deadlines.evidence,
            missed=_UNRESPONSIVE,
            subject=subject.uuid,
        )

    def _whom(self, subject: Subject) -> Process | None:
        """The QEMU to be asked; None when it is not, which the subject knows the reason for."""
        if not subject.may_be_asked:
            return None
        alone = self._left_alone(subject)
        if alone is not None:
            subject.doubts.append(alone)
            return None
        if subject.process is None:
            detail = "its QEMU process was not found in /proc"
            subject.doubts.append(Doubt(code="evidence-missing", detail=detail))
        return subject.process

    def _resolve(self, subject: Subject) -> None:
        """Look at what libvirt found behind the volume of a pool, which the XML only names."""
        for disk in subject.domain.disks if subject.domain else ():
            stats = subject.stats.get(disk.target)
            if not disk.layers or disk.layers[0].storage != "volume" or not stats or not stats.path:
                continue
            for storage in ("file", "block"):
                layer = msgspec.structs.replace(disk.layers[0], storage=storage, source=stats.path)
                facts = self._images.look_at([layer], subject.process, subject.uuid)[layer]
                if facts.code != "not-a-regular-file":
                    subject.resolved[disk.target] = layer
                    subject.layers[disk.target] = (facts, *subject.layers[disk.target][1:])
                    break

    def _own_part(self, doubt: Doubt, subject: Subject, process: Process) -> Doubt:
        """What the doubt about several domains is for one: only who is stuck is to blame."""
        if doubt.code != _UNRESPONSIVE:
            return doubt
        control = self._questions.ask(
            operations.CONTROL,
            subject.uuid,
            process,
            seconds=_CONTROL_SECONDS,
            missed="libvirt-busy",
            subject=subject.uuid,
        )
        hangs = isinstance(control, Control) and (
            control.state == "error"
            or (control.state == "busy" and control.milliseconds >= _STUCK_MILLISECONDS)
        )
        if hangs:
            return doubt
        return Doubt(code="libvirt-busy", detail="asked together with a QEMU that hangs")

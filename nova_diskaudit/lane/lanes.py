# SPDX-License-Identifier: Apache-2.0
"""The pool of lanes: any thread asks, the right child answers within a deadline, or is parked."""

from __future__ import annotations

import math
import pathlib
import threading
import time
import types
from collections.abc import Iterable, Sequence
from typing import Any, Self

import msgspec

from nova_diskaudit.facts import Process
from nova_diskaudit.lane import operations, wire
from nova_diskaudit.lane.child import Child, ChildDied
from nova_diskaudit.lane.errors import DeadlineMissed, LaneBroken, LaneError, LaneRefused, NoToken
from nova_diskaudit.lane.operations import KINDS, Kind, Operation, R
from nova_diskaudit.lane.supervisor import Supervisor
from nova_diskaudit.lane.tokens import Holder, Tokens, TokenState, now

__all__ = ["DeadlineMissed", "LaneBroken", "LaneError", "LaneRefused", "Lanes", "NoToken"]

# Children that answer at the same time. libvirtd and QEMU are the slow part, not we.
_MOST_CHILDREN: dict[Kind, int] = {
    "storage": 1,
    "monitor": 1,
    "evidence": 1,
    "guest": 2,
    "events": 1,
}
# Children that may wait for a late reply. A parked monitor call without a token (XMLDesc of a
# domain that something else has locked) pins a worker of libvirtd as well, so few are allowed.
_MOST_PARKED: dict[Kind, int] = {
    "storage": 8,
    "monitor": 4,
    "evidence": 4,
    "guest": 4,
    "events": 1,
}
_SILENT: dict[Kind, str] = {
    "storage": "storage-unresponsive",
    "monitor": "libvirt-busy",
    "evidence": "libvirt-busy",
    "guest": "libvirt-busy",
    "events": "libvirt-busy",
}
# The sync before an agent command ends by itself after 5 s, and there may be two (libvirt 9.0).
_AGENT_SYNC_SECONDS = 10.0
_CONTROL_SECONDS = 1.0
_CLOSE_SECONDS = 0.8


class LaneState(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of lane: its children, those of them that wait for a late reply, and those that
    died or were given up so far. ``answered_at`` is in seconds since boot.
    """

    kind: Kind
    children: int
    parked: int
    lost: int
    answered_at: float | None


class Lanes:
    """All lanes to one hypervisor, as a context manager; thread-safe.

    ``state_path`` is the file that remembers calls which are still pinned in libvirtd.
    """

    def __init__(self, uri: str, *, state_path: pathlib.Path | None) -> None:
        self._changed = threading.Condition()
        self._idle: dict[Kind, list[Child]] = {kind: [] for kind in KINDS}
        self._count: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._parked: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._unanswered: dict[Child, str] = {}
        self._lost: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._answered_at: dict[Kind, float] = {}
        self._closed = False
        self._returned: list[str] = []
        self._tokens = Tokens(state_path, self._has_ended)
        self._supervisor = Supervisor(uri)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def warm_up(self, *kinds: Kind) -> None:
        """Start children that will be wanted, without waiting for any: they start side by side.

        :raises LaneBroken: when the system has no room for one.
        """
        for kind in kinds:
            with self._changed:
                if self._closed or self._count[kind]:
                    continue
                self._count[kind] += 1
            self._put_back(self._spawn(kind))

    def call(
        self, operation: Operation[R], *args: Any, deadline: float, subject: str | None = None
    ) -> R:
        """Ask, and wait at most ``deadline`` seconds for the answer.

        Before that it waits at most as long again for a lane, and for a token if it needs one,
        while others use them within their own deadlines. ``subject`` is what a missed deadline
        is about; by default the first argument, if that is text.

        :raises DeadlineMissed: the call goes on; :meth:`returned` tells when it has ended.
        :raises LaneRefused: the operation answered with an error, too many calls of its kind are
            without an answer, or the question is too large.
        :raises NoToken: calls without an answer hold every token.
        :raises LaneBroken: the child died (twice, if the call may be repeated).
        """
        (outcome,) = self.call_each(operation, [args], deadline=deadline, subjects=[subject])
        if isinstance(outcome, LaneError):
            raise outcome
        return outcome

    def call_each(
        self,
        operation: Operation[R],
        things: Sequence[tuple[Any, ...]],
        *,
        deadline: float,
        subjects: Sequence[str | None],
        all_seconds: float = math.inf,
    ) -> list[R | LaneError]:
        """Ask about several things in one question, each by the arguments of a single call.

        A wakeup of another process costs as much as many an answer, and here there is one for all
        of them. Yet each has ``deadline`` seconds of its own, all together at most ``all_seconds``,
        and who hangs is known.

        :returns: what :meth:`call` would return or raise, thing by thing, for the first one at
            least. It ends behind the first that missed its deadline, or for which there was no
            lane, and where a question would become too large; the caller asks for the rest anew,
            if that still makes sense.
        :raises ValueError: for several things that need a token each.
        """
        if operation.token is not None and len(things) != 1:
            raise ValueError(f"{operation!r} needs a token for each call")
        about = [
            _about(operation, args) if subject is None else subject
            for args, subject in zip(things, subjects, strict=True)
        ]
        try:
            try:
                return self._attempt(operation, things, deadline, about, all_seconds)
            except LaneBroken:
                if not operation.repeatable or self._closed:
                    raise
            # Alone, for any of them may be what kills the lane.
            return self._attempt(operation, things[:1], deadline, about, all_seconds)
        except LaneError as error:
            return [error]

    def unanswered(self) -> frozenset[str]:
        """Subjects of the calls that missed their deadline and still go on."""
        with self._changed:
            return frozenset(self._unanswered.values())

    def states(self) -> list[LaneState]:
        """How each kind of lane is doing."""
        with self._changed:
            return [
                LaneState(
                    kind=kind,
                    children=self._count[kind],
                    parked=self._parked[kind],
                    lost=self._lost[kind],
                    answered_at=self._answered_at.get(kind),
                )
                for kind in KINDS
            ]

    def tokens(self) -> list[TokenState]:
        """Who holds the tokens."""
        return self._tokens.states()

    def returned(self) -> list[str]:
        """Subjects whose late reply has arrived since the last call: they are alive again."""
        with self._changed:
            subjects, self._returned = self._returned, []
        return subjects

    def close(self) -> None:
        """Kill the children; calls without an answer become orphans. Takes about a second."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._tokens.abandon()
        self._supervisor.stop(_CLOSE_SECONDS)

    def _attempt(
        self,
        operation: Operation[R],
        things: Sequence[tuple[Any, ...]],
        seconds: float,
        subjects: Sequence[str],
        all_seconds: float,
    ) -> list[R | LaneError]:
        encoded = _encoded(things)
        things = things[: len(encoded)]
        holder = self._take_token(operation, things[0], subjects[0], seconds)
        try:
            child = self._borrow(operation.kind, seconds)
        except BaseException:
            if holder is not None:
                self._tokens.give_back(holder)
            raise
        try:
            answers = child.ask(operation.name, encoded, seconds, all_seconds)
        except ChildDied as error:
            self._bury(child)
            if holder is not None:
                self._tokens.orphan(holder)
            raise LaneBroken(f"{operation.name}: {error}") from None
        except BaseException:  # Ctrl-C: the answer is still to come
            self._park(child, holder, subjects[0])
            raise
        outcomes = _outcomes(operation, answers)
        if len(answers) < len(things):
            subject = subjects[len(answers)]
            self._park(child, holder, subject)
            return [*outcomes, DeadlineMissed(subject, seconds)]
        if holder is not None:
            self._tokens.give_back(holder)
        self._answered_at[operation.kind] = now()
        self._put_back(child)
        return outcomes

    def _take_token(
        self, operation: Operation[Any], args: tuple[Any, ...], subject: str, seconds: float
    ) -> Holder | None:
        if operation.token is None:
            return None
        expires_after = None
        if operation is operations.AGENT:
            expires_after = float(args[2]) + _AGENT_SYNC_SECONDS
        process = next((a for a in args if isinstance(a, Process)), None)
        others: tuple[tuple[str, Process], ...] = ()
        about = args[0]
        if operation is operations.BLOCK_STATS:
            (about, process), *rest = args[0]
            others = tuple(rest)
        return self._tokens.take(
            operation.token,
            about,
            process=process,
            others=others,
            seconds=seconds,
            expires_after=expires_after,
        )

    def _borrow(self, kind: Kind, seconds: float) -> Child:
        """An idle child, or a new one while there are not too many."""
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                if self._closed:
                    raise LaneBroken("the lanes are closed")
                while self._idle[kind]:
                    child = self._idle[kind].pop()
                    if child.is_usable():
                        return child
                    self._count[kind] -= 1
                    self._lost[kind] += 1
                    self._supervisor.retire(child)
                if self._parked[kind] >= _MOST_PARKED[kind]:
                    raise LaneRefused(
                        _SILENT[kind],
                        f"{self._parked[kind]} earlier questions to the {kind} lane are "
                        "without an answer",
                    )
                if self._count[kind] < _MOST_CHILDREN[kind]:
                    self._count[kind] += 1
                    break
                if not self._changed.wait(until - time.monotonic()):
                    raise LaneRefused(_SILENT[kind], f"the {kind} lane had no time for it")
        return self._spawn(kind)

    def _spawn(self, kind: Kind) -> Child:
        """A new child, already counted by the caller."""
        try:
            return self._supervisor.spawn(kind)
        except BaseException as error:
            with self._changed:
                self._count[kind] -= 1
                self._changed.notify_all()
            if isinstance(error, OSError):
                raise LaneBroken(f"the {kind} lane cannot be started: {error}") from None
            raise

    def _put_back(self, child: Child) -> None:
        with self._changed:
            self._idle[child.kind].append(child)
            self._changed.notify_all()

    def _bury(self, child: Child) -> None:
        with self._changed:
            self._count[child.kind] -= 1
            self._lost[child.kind] += 1
            self._changed.notify_all()
        self._supervisor.retire(child)

    def _park(self, child: Child, holder: Holder | None, subject: str) -> None:
        """Leave the child alone with its call, about ``subject``; the next one gets another."""
        with self._changed:
            self._count[child.kind] -= 1
            self._parked[child.kind] += 1
            self._lost[child.kind] += 1
            self._unanswered[child] = subject
            self._changed.notify_all()
        if holder is not None:
            self._tokens.park(holder)

        def late(reply: wire.Reply | None) -> None:
            with self._changed:
                self._parked[child.kind] -= 1
                self._unanswered.pop(child, None)
                if reply is not None:
                    self._returned.append(subject)
                self._changed.notify_all()
            if holder is None:
                return
            if reply is not None:
                self._tokens.give_back(holder)
            else:
                self._tokens.orphan(holder)

        self._supervisor.park(child, late)

    def _has_ended(self, holder: Holder) -> bool:
        """Whether libvirt still waits for QEMU on behalf of a caller that died.

        A stuck call always shows as a job of its domain; a younger job is somebody else's.
        """
        return all(
            self._is_over(holder, uuid, process)
            for uuid, process in ((holder.subject, holder.process), *holder.others)
        )

    def _is_over(self, holder: Holder, uuid: str, process: Process | None) -> bool:
        try:
            control = self.call(operations.CONTROL, uuid, process, deadline=_CONTROL_SECONDS)
        except LaneError:
            return False
        if control is None or control.state != "busy":
            return True
        return control.milliseconds / 1000 < now() - holder.since - 1


def _about(operation: Operation[Any], args: tuple[Any, ...]) -> str:
    return args[0] if args and isinstance(args[0], str) else operation.name


def _encoded(things: Iterable[tuple[Any, ...]]) -> list[msgspec.Raw]:
    """As many of them, encoded, as one question has room for.

    :raises LaneRefused: when the first alone is too large.
    """
    encoded: list[msgspec.Raw] = []
    room = wire.MAX_CONTENT_BYTES
    for args in things:
        one = wire.encode(args)
        size = len(memoryview(one))
        room -= size
        if room < 0:
            if not encoded:
                raise LaneRefused("internal-error", f"a question of {size} bytes")
            break
        encoded.append(one)
    return encoded


def _outcomes(operation: Operation[R], answers: Iterable[wire.Answer]) -> list[R | LaneError]:
    outcomes: list[R | LaneError] = []
    for answer in answers:
        if answer.code is not None:
            outcomes.append(LaneRefused(answer.code, answer.detail or ""))
            continue
        try:
            outcomes.append(operation.decode(answer.result))
        except wire.UNDECODABLE as error:
            broken = f"{operation.name}: not the promised result: {error}"
            outcomes.append(LaneBroken(broken))
    return outcomes

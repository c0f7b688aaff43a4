# SPDX-License-Identifier: Apache-2.0
"""From the spool to the central service: one report in flight, oldest first, the only retry.

What the service refuses for good is set aside, so that it stops nobody; everything else that is
not a success is kept and tried again, later and later, with jitter so that ten thousand agents
do not come back at once.
"""

from __future__ import annotations

import datetime
import logging
import random
import threading
from collections.abc import Callable

import msgspec

from nova_diskaudit import protocol
from nova_diskaudit.agent.spool import Spool, SpoolError
from nova_diskaudit.health import PublisherStatus

LOG = logging.getLogger(__name__)

_REFUSED_FOR_GOOD = frozenset({400, 413, 415, 422})
_FIRST_BACKOFF_SECONDS = 5.0
# A Retry-After wins over our own back-off, within reason.
_SHORTEST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 3600.0
# A chain is mended by one more report. Who breaks it again and again gets no hot loop.
_CHAINS_IN_A_ROW = 3


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one request. ``status`` None: there was no answer, ``detail`` says why.

    ``current`` is the id that the service names, with 200 and with 409; ``code`` its error's.
    """

    status: int | None
    current: str | None = None
    code: str | None = None
    retry_after_seconds: float | None = None
    detail: str | None = None


class Publisher:
    """Sends what the spool holds.

    :param send: one request, with a deadline of its own; never raises for what a network does.
    :param jitter: a number from 0 to 1 at random.
    """

    def __init__(
        self,
        spool: Spool,
        send: Callable[[protocol.Report], Answer],
        *,
        backoff_max_seconds: float = 600.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._spool = spool
        self._send = send
        self._backoff_max_seconds = backoff_max_seconds
        self._jitter = jitter
        self._changed = threading.Condition()
        self._woken = False
        self._begin_again = False
        self._status = PublisherStatus(enabled=True)
        self._failures = 0
        self._failed_by: int | None = None
        self._chains = 0
        self._mended: tuple[str, str | None] | None = None

    def use(self, send: Callable[[protocol.Report], Answer], *, backoff_max_seconds: float) -> None:
        """Send by another way from now on, and try it at once: the old one may have been wrong."""
        with self._changed:
            self._send = send
            self._backoff_max_seconds = backoff_max_seconds
            self._begin_again = True
            self._changed.notify_all()

    def wake(self) -> None:
        """There is something new to send, or it is time to end."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def status(self) -> PublisherStatus:
        """How it goes."""
        with self._changed:
            return self._status

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set (and :meth:`wake` called)."""
        while not stop.is_set():
            with self._changed:
                if self._begin_again:
                    self._failures = 0
                self._woken = self._begin_again = False
            try:
                seconds = self.step()
            except Exception:
                LOG.exception("A defect of ours while publishing; it is tried again")
                seconds = self._backoff_max_seconds
            with self._changed:
                if seconds is None:
                    self._changed.wait_for(
                        lambda: self._woken or self._begin_again or stop.is_set()
                    )
                else:
                    # A new state does not cut it short: the service is the one to be spared.
                    self._changed.wait_for(lambda: self._begin_again or stop.is_set(), seconds)

    def step(self) -> float | None:
        """Send one report. Seconds to wait before the next; None until there is one."""
        state = self._spool.oldest()
        if state is None:
            return None
        report = self._report(state)
        answer = self._send(report)
        if answer.status == 200:
            if answer.current == state.id:
                return self._acknowledged(state)
            return self._failed(answer, f"200, but for another report than {state.id}")
        if answer.status == 409 and answer.code == "report-chain":
            return self._to_be_mended(state, answer)
        if answer.status in _REFUSED_FOR_GOOD:
            return self._rejected(state, report, answer)
        return self._failed(answer, why(answer))

    def _report(self, state: protocol.State) -> protocol.Report:
        agent, sent_at = self._spool.agent, datetime.datetime.now(datetime.UTC)
        if self._mended is not None and self._mended[0] == state.id:
            return protocol.full(state, agent=agent, replaces=self._mended[1], sent_at=sent_at)
        base = self._spool.acked()
        if base is None:
            return protocol.full(state, agent=agent, replaces=None, sent_at=sent_at)
        return protocol.delta(base, state, agent=agent, sent_at=sent_at)

    def _to_be_mended(self, state: protocol.State, answer: Answer) -> float:
        current = answer.current
        if current is not None and (current == state.id or not protocol.is_id(current)):
            return self._failed(answer, "the service names a current report that cannot be")
        self._mended = (state.id, current)
        self._chains += 1
        if self._chains > _CHAINS_IN_A_ROW:
            return self._failed(answer, "the service names another current report each time")
        LOG.info("The service stands at %s: sending all of %s", current, state.id)
        self._note(failures=self._status.failures + 1)
        return 0.0

    def _acknowledged(self, state: protocol.State) -> float:
        try:
            self._spool.acknowledge(state.id)
        except SpoolError as error:
            return self._failed(None, f"an acknowledgement could not be written: {error}")
        if self._failures:
            LOG.info("The central service takes reports again")
        self._failures = self._chains = 0
        self._mended = None
        self._note(
            sent=self._status.sent + 1,
            acknowledged=state.id,
            acknowledged_at=datetime.datetime.now(datetime.UTC),
            problem=None,
            next_try=None,
        )
        return 0.0

    def _rejected(self, state: protocol.State, report: protocol.Report, answer: Answer) -> float:
        reason = why(answer)
        LOG.error("The service refused report %s for good: %s", state.id, reason)
        try:
            self._spool.reject(state.id, reason, protocol.encode(report))
        except SpoolError as error:
            return self._failed(None, f"a refused report could not be set aside: {error}")
        self._chains = 0
        self._note(failures=self._status.failures + 1, problem=reason)
        return 0.0

    def _failed(self, answer: Answer | None, why: str) -> float:
        """Keep it, and say why once for each kind of failure. Seconds to wait."""
        self._spool.put_back()
        kind = answer.status if answer is not None else -1
        if not self._failures or kind != self._failed_by:
            LOG.warning("Not published, and tried again until it is: %s", why)
        self._failed_by = kind
        self._failures += 1
        self._chains = 0
        longest = self._backoff_max_seconds
        seconds = min(longest, _FIRST_BACKOFF_SECONDS * 2.0 ** min(self._failures - 1, 20))
        scattered = self._jitter()
        seconds *= 0.5 + scattered / 2
        if answer is not None and answer.retry_after_seconds is not None:
            seconds = min(max(answer.retry_after_seconds, 0.0), _LONGEST_WAIT_SECONDS)
            seconds *= 1 + scattered / 10
        seconds = max(seconds, _SHORTEST_WAIT_SECONDS)
        self._note(
            failures=self._status.failures + 1,
            problem=why,
            next_try=datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds),
        )
        return seconds

    def _note(self, **changed: object) -> None:
        with self._changed:
            self._status = msgspec.structs.replace(self._status, **changed)


def why(answer: Answer) -> str:
    """The reason of an answer that is no success, for people."""
    said = answer.detail or answer.code or "no reason given"
    return said if answer.status is None else f"{answer.status}: {said}"

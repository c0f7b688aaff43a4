# SPDX-License-Identifier: Apache-2.0
"""The agent as a service: its threads, its signals, and what a reload may change.

Each thread does one thing and talks to the others through an object that locks for itself:
cycles and single looks fill the observatory; the spool takes each cycle's state; the publisher
empties the spool; the outputs read the observatory. Only the main thread sees signals.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import logging
import os
import pathlib
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable

import msgspec
from oslo_config import cfg

from nova_diskaudit import conf as configuration
from nova_diskaudit import notify, signals
from nova_diskaudit.agent import schedule
from nova_diskaudit.agent.debounce import Debounce
from nova_diskaudit.agent.events import Listener
from nova_diskaudit.agent.observatory import Observatory
from nova_diskaudit.agent.outputs import Outputs
from nova_diskaudit.agent.publishing import Publishing
from nova_diskaudit.agent.quarantine import Quarantine
from nova_diskaudit.agent.refresh import Refresher, retry
from nova_diskaudit.audit import uri
from nova_diskaudit.audit.options import AuditError, from_settings
from nova_diskaudit.conf import opts
from nova_diskaudit.health import PARTS, AgentStatus, LaneStatus, TokenStatus
from nova_diskaudit.lane import tokens
from nova_diskaudit.lane.lanes import Lanes
from nova_diskaudit.record import HostReport

LOG = logging.getLogger(__name__)

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
# A cycle ends by its own deadlines; one that is later than this hangs for a reason nobody knows.
_STUCK_AFTER_CYCLES = 3
_JOIN_SECONDS = 1.0
# How often it is seen that a thread died, without a watchdog.
_LOOK_SECONDS = 10.0


class Agent:
    """All of it, from a configuration.

    :param reload: reads the configuration again; raises :class:`ConfigurationError`.
    :param tell: tells the service manager, as ``sd_notify`` does.
    :raises ConfigurationError: when it cannot begin; the message is one line.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        *,
        reload: Callable[[], cfg.ConfigOpts],
        tell: Callable[[str], None],
    ) -> None:
        self._conf = conf
        self._reload = reload
        self._tell = tell
        self._stop = threading.Event()
        self._started_at = datetime.datetime.now(datetime.UTC)
        self._beat = time.monotonic()
        self.host = conf.host or socket.gethostname()
        self._state_path = _state_path(conf.agent.state_path)
        self._quarantine = Quarantine(
            time.monotonic,
            first_seconds=conf.agent.backoff_min,
            most_seconds=conf.agent.backoff_max,
        )
        self._publishing = Publishing(conf, self._state_path)
        settings = configuration.settings(conf)
        why = uri.problem(settings.uri)
        if why is not None:
            raise configuration.ConfigurationError(f"[hypervisor] connection_uri: {why}")
        remembered = settings.state_path or self._state_path / "tokens.json"
        self._lanes = Lanes(settings.uri, state_path=pathlib.Path(remembered))
        # Every question has a deadline of its own; this one only ends what they cannot.
        timeout = max(settings.timeout, float(conf.agent.interval))
        options = msgspec.structs.replace(from_settings(settings), timeout=timeout)
        self._observatory = Observatory(self._lanes, options, self.host, self._quarantine, 1)
        self._refresher = Refresher(self._observatory)
        self._debounce = Debounce(
            quiet_seconds=conf.agent.event_debounce, window_seconds=conf.agent.backoff_min
        )
        self._listener = Listener(
            self._lanes,
            self._debounce,
            touch=self._observatory.touch,
            refresh=self._refresher.ask,
            woke=lambda uuid, wholly: self._quarantine.try_now(
                uuid, PARTS if wholly else ("guest",)
            ),
        )
        self._outputs = Outputs(
            conf, self._state_path, report=self._observatory.report, status=self.status
        )
        self._cycles = threading.Thread(target=self._run_cycles, name="cycles", daemon=True)
        self._apply(conf)

    def run(self, inbox: signals.Inbox) -> int:
        """Until SIGTERM or SIGINT; 0 when it ended as it was told to.

        :param inbox: where :data:`SIGNALS` come in.
        """
        self._outputs.start()
        threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (
                ("refresh", self._refresher.run),
                ("retry", self._retry),
                ("events", lambda: self._listener.run(self._stop)),
                ("publish", lambda: self._publishing.run(self._stop)),
            )
        ]
        for thread in (self._cycles, *threads):
            thread.start()
        LOG.info("Auditing %s as %s", configuration.settings(self._conf).uri, self.host)
        self._tell("READY=1")
        try:
            return self._wait(inbox, threads)
        finally:
            self._tell("STOPPING=1")
            self._close(threads)

    def status(self) -> AgentStatus:
        """How the agent itself is doing."""
        now = tokens.now()
        spool, publisher = self._publishing.status()
        return AgentStatus(
            version=importlib.metadata.version("nova-diskaudit"),
            host=self.host,
            pid=os.getpid(),
            started_at=self._started_at,
            interval_seconds=self._conf.agent.interval,
            cycle=self._observatory.status,
            lanes=tuple(
                LaneStatus(
                    kind=lane.kind,
                    children=lane.children,
                    parked=lane.parked,
                    restarts=lane.lost,
                    oldest_answer_seconds=(
                        now - lane.answered_at if lane.answered_at is not None else None
                    ),
                )
                for lane in self._lanes.states()
            ),
            tokens=tuple(
                TokenStatus(
                    kind=token.kind,
                    limit=token.limit,
                    active=token.active,
                    parked=token.parked,
                    orphaned=token.orphaned,
                )
                for token in self._lanes.tokens()
            ),
            quarantine=self._quarantine.status(),
            events=self._listener.status(),
            spool=spool,
            publisher=publisher,
            drops=spool.dropped,
        )

    # --- the main thread ----------------------------------------------------------------------

    def _wait(self, inbox: signals.Inbox, threads: list[threading.Thread]) -> int:
        ping_seconds = notify.watchdog_seconds(os.environ) or _LOOK_SECONDS
        while True:
            received = signals.wait(inbox, ping_seconds)
            if received is None:
                dead = [t.name for t in (self._cycles, *threads) if not t.is_alive()]
                if dead:
                    LOG.critical("Ending, to be started anew: thread died: %s", ", ".join(dead))
                    return 1
                if self._is_moving():
                    self._tell("WATCHDOG=1")
            elif received == signal.SIGHUP:
                self._tell(notify.reloading())
                self._read_again()
                self._tell("READY=1")
            else:
                LOG.info("Ending: %s", received.name)
                return 0

    def _is_moving(self) -> bool:
        longest = max(self._conf.agent.interval, self._conf.audit.timeout)
        return time.monotonic() - self._beat < _STUCK_AFTER_CYCLES * longest + 60

    def _close(self, threads: list[threading.Thread]) -> None:
        """Bounded: what hangs in a lane is killed, what hangs in a request is left behind."""
        self._observatory.close()
        self._stop.set()
        self._refresher.stop()
        self._publishing.wake()
        self._lanes.close()
        self._outputs.close()
        until = time.monotonic() + _JOIN_SECONDS
        for thread in (self._cycles, *threads):
            thread.join(max(0.0, until - time.monotonic()))
        self._publishing.close()

    # --- what a reload changes ----------------------------------------------------------------

    def _read_again(self) -> None:
        try:
            fresh = self._reload()
            self._publishing.use(fresh)
        except configuration.ConfigurationError as error:
            LOG.error("Not reloaded, going on as before: %s", error)
            return
        for name in _needs_restart(self._conf, fresh):
            LOG.warning("%s changed; it takes effect when the agent is started again", name)
        self._conf = fresh
        self._apply(fresh)
        LOG.info("Configuration reloaded")

    def _apply(self, conf: cfg.ConfigOpts) -> None:
        self._observatory.full_cycles = conf.agent.full_cycles
        self._debounce.quiet_seconds = conf.agent.event_debounce
        self._debounce.window_seconds = conf.agent.backoff_min
        self._quarantine.first_seconds = conf.agent.backoff_min
        self._quarantine.most_seconds = max(conf.agent.backoff_min, conf.agent.backoff_max)

    # --- the other threads --------------------------------------------------------------------

    def _run_cycles(self) -> None:
        first = time.monotonic()
        while not self._stop.is_set():
            self._beat = time.monotonic()
            failed = True
            try:
                report = self._observatory.cycle()
                failed = self._observatory.status.failed is not None
                if report is not None:
                    self._deliver(report)
            except AuditError as error:
                LOG.error("No cycle: %s", error)
            except Exception:
                LOG.exception("A cycle ended with a defect of ours; the next one is tried")
            self._stop.wait(
                schedule.seconds_to_next(
                    self.host,
                    since_first=time.monotonic() - first,
                    interval=self._conf.agent.interval,
                    failed=failed,
                )
            )

    def _deliver(self, report: HostReport) -> None:
        self._publishing.append(report, str(uuid.uuid4()))
        self._outputs.renew()
        done = self._observatory.status
        LOG.info(
            "Cycle %d: %d domains in %.1f s, %d asked anew, %d unchanged, %d left alone",
            done.number,
            done.domains,
            done.seconds or 0.0,
            done.full,
            done.quiet,
            len({entry.uuid for entry in self._quarantine.status()}),
        )

    def _retry(self) -> None:
        retry(self._observatory, self._quarantine, self._lanes, self._refresher, self._stop)


def _state_path(text: str) -> pathlib.Path:
    path = pathlib.Path(text)
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        probe = path / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise configuration.ConfigurationError(
            f"[agent] state_path {text}: {error.strerror}"
        ) from error
    return path


def _needs_restart(old: cfg.ConfigOpts, new: cfg.ConfigOpts) -> list[str]:
    """Names of options that changed and that only a start reads."""
    before = {name: value for name, _, value in opts.values(old)}
    return [
        name
        for name, option, value in opts.values(new)
        if not option.mutable and value != before[name]
    ]

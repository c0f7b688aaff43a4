# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit-reconcile``: the periodic work of the central service, once or for ever.

Exit status: 0 done; 1 done, but something did not answer, so it is not complete; 2 it could not be
done, and a line says why.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import sys
import uuid
from typing import Any, NoReturn

from nova_diskaudit import notify, signals
from nova_diskaudit.cmd import extra
from nova_diskaudit.conf import ConfigurationError
from nova_diskaudit.render import progress

PROGRAM = "nova-diskaudit-reconcile"

_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
# How often it is seen that a thread died or hangs, without a watchdog.
_LOOK_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_STATUS = {"done": 0, "busy": 0, "not-due": 0, "incomplete": 1, "stopped": 1, "failed": 2}


@extra.needed(PROGRAM, "api")
def main(argv: list[str] | None = None) -> int:
    """Do what is due, or everything that is named, or go on for ever."""
    arguments = _parser().parse_args(argv)
    from nova_diskaudit.conf import service
    from nova_diskaudit.store import engine, errors, schema

    try:
        conf = service.read(arguments.config_file)
        if not conf.config_file:
            # As nova-diskaudit-api has it: one machine.
            conf.set_default("auth_strategy", "noauth", group="api")
        if arguments.debug:
            conf.set_override("debug", True)
            service.setup_logging(conf)
        from nova_diskaudit.reconcile import tasks

        jobs = tasks.prepared(conf, arguments.task)
        database = engine.create(conf.database.connection, **service.database(conf))
        try:
            schema.require_newest(database)
        except errors.Unavailable:
            # As a service it waits for the database.
            if not arguments.forever:
                raise
        if arguments.forever:
            return _forever(database, jobs)
        if arguments.list:
            return _list(database, jobs, arguments)
        return _once(database, jobs, arguments)
    except (ConfigurationError, errors.StoreError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        allow_abbrev=False,
        description="The periodic work of nova-diskaudit's central service. Without options: what "
        "is due, once. Several processes may run at the same time; one of them does each task.",
    )
    parser.add_argument(
        "--config-file",
        action="append",
        default=[],
        metavar="FILE",
        help="oslo.config file (default: nova-diskaudit-api.conf in /etc/nova-diskaudit)",
    )
    parser.add_argument(
        "--task",
        action="append",
        default=[],
        metavar="NAME",
        help="this task alone (several: again), and now, whether it is due or not",
    )
    parser.add_argument("--debug", action="store_true", help="log what is done")
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="how the end is told (text)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--forever", action="store_true", help="all tasks as a service, each at its own interval"
    )
    how.add_argument(
        "--list", action="store_true", help="only tell which tasks there are, and how they stand"
    )
    return parser


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


# --- once -------------------------------------------------------------------------------------


def _once(database: Any, jobs: list[Any], arguments: argparse.Namespace) -> int:
    from nova_diskaudit.reconcile import runner

    # As an exception, so that leases are given back on the way out.
    signal.signal(signal.SIGTERM, _end)
    outcomes = []
    for job in jobs:
        with progress.line(sys.stderr) as told:
            outcome = runner.attempt(
                database,
                job,
                holder=str(uuid.uuid4()),
                clock=_now,
                if_due=not arguments.task,
                tell=told or runner.silent,
            )
        outcomes.append(outcome)
        if arguments.format == "text":
            print(_sentence(outcome), flush=True)
    if arguments.format == "json":
        print(json.dumps({"tasks": [_object(outcome) for outcome in outcomes]}, indent=2))
    return max((_STATUS[outcome.state] for outcome in outcomes), default=0)


def _end(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


def _sentence(outcome: Any) -> str:
    if outcome.state == "busy":
        return f"{outcome.task}: another process does it now"
    if outcome.state == "not-due":
        when = f"{outcome.due:%Y-%m-%d %H:%M:%S} UTC" if outcome.due else "later"
        return f"{outcome.task}: not due before {when}"
    facts = ", ".join(
        f"{name.replace('_', ' ')} {_word(value)}" for name, value in outcome.facts.items()
    )
    words = f"{outcome.task}: {outcome.state} in {outcome.seconds:.1f} s"
    return ": ".join(part for part in (words, facts, outcome.problem) if part)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _object(outcome: Any) -> dict[str, Any]:
    return {
        "task": outcome.task,
        "state": outcome.state,
        "seconds": round(outcome.seconds, 3),
        "facts": dict(outcome.facts),
        "problem": outcome.problem,
        "due": outcome.due.isoformat() if outcome.due else None,
    }


# --- how they stand -----------------------------------------------------------------------------


def _list(database: Any, jobs: list[Any], arguments: argparse.Namespace) -> int:
    from nova_diskaudit.reconcile import tasks
    from nova_diskaudit.store import moment, task

    about = {one.name: one.about for one in tasks.TASKS}
    standing = []
    for job in jobs:
        known = task.state(database, job.name)
        times = {
            name: moment.time(at).isoformat(timespec="seconds") if at is not None else None
            for name, at in known._asdict().items()
            if name.endswith("_at")
        }
        standing.append(
            {
                "task": job.name,
                "about": about[job.name],
                "interval": job.interval_seconds,
                **times,
                "problem": known.problem,
            }
        )
    if arguments.format == "json":
        print(json.dumps({"tasks": standing}, indent=2))
    else:
        for one in standing:
            print(f"{one['task']}: {one['about']}, every {one['interval']:.0f} s")
            print(f"  last done {one['succeeded_at'] or 'never'}, next {one['due_at'] or 'now'}")
            if one["problem"]:
                print(f"  {one['problem']}")
    return 1 if any(one["problem"] for one in standing) else 0


# --- for ever -----------------------------------------------------------------------------------


def _forever(database: Any, jobs: list[Any]) -> int:
    from nova_diskaudit.reconcile import runner

    inbox = signals.listen(_SIGNALS)
    keeper = runner.Keeper(database, jobs, clock=_now)
    keeper.start()
    notify.notify("READY=1\n" + notify.status(", ".join(job.name for job in jobs)))
    try:
        return _wait(inbox, keeper)
    finally:
        notify.notify("STOPPING=1")
        keeper.close(_CLOSE_SECONDS)


def _wait(inbox: signals.Inbox, keeper: Any) -> int:
    ping_seconds = notify.watchdog_seconds(os.environ) or _LOOK_SECONDS
    while True:
        if signals.wait(inbox, ping_seconds) is not None:
            return 0
        dead = keeper.dead()
        if dead:
            print(f"{PROGRAM}: a thread died: {', '.join(dead)}", file=sys.stderr)
            return 1
        hanging = keeper.hanging()
        if hanging:
            notify.notify(notify.status(f"hanging: {', '.join(hanging)}"))
        else:
            notify.notify("WATCHDOG=1")


if __name__ == "__main__":
    sys.exit(main())

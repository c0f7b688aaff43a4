# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit-api``: the central service in one process.

For one machine and for trying out: without a configuration file it keeps SQLite and answers
without Keystone, on loopback. In production a WSGI server runs ``nova_diskaudit.wsgi.api``.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import signal
import sys
import threading
from typing import Any

from nova_diskaudit.cmd import extra
from nova_diskaudit.conf import ConfigurationError

PROGRAM = "nova-diskaudit-api"

_CLOSE_SECONDS = 2.0


@extra.needed(PROGRAM, "api")
def main() -> int:
    """Serve until it is told to end; 2 when it cannot begin."""
    arguments = _parser().parse_args()
    from nova_diskaudit.store import errors

    try:
        return _serve(arguments)
    except (ConfigurationError, errors.StoreError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        allow_abbrev=False,
        description="The central service of nova-diskaudit. Without a configuration file: on "
        "SQLite, without Keystone, for this machine alone.",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=8788, help="TCP port (8788)")
    parser.add_argument(
        "--config-file",
        action="append",
        default=[],
        metavar="FILE",
        help="oslo.config file (default: nova-diskaudit-api.conf in /etc/nova-diskaudit)",
    )
    parser.add_argument(
        "--database", metavar="URL", help="wins over [database] connection of the file"
    )
    parser.add_argument("--debug", action="store_true", help="log what is done")
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    from nova_diskaudit.api import app, identity
    from nova_diskaudit.conf import service
    from nova_diskaudit.reconcile import runner, tasks
    from nova_diskaudit.store import engine, schema
    from nova_diskaudit.wsgi import server

    conf = service.read(arguments.config_file)
    if not conf.config_file:
        conf.set_default("auth_strategy", "noauth", group="api")
    if arguments.database is not None:
        conf.set_override("connection", arguments.database, group="database")
    if arguments.debug:
        conf.set_override("debug", True)
        service.setup_logging(conf)
    if conf.api.auth_strategy == "noauth" and not identity.is_loopback(arguments.host):
        raise ConfigurationError(
            f"without Keystone it listens on loopback only, and {arguments.host} is not: set "
            "[api] auth_strategy = keystone"
        )
    database = engine.create(conf.database.connection, **service.database(conf))
    if database.dialect.name == "sqlite":
        schema.sync(database)
    else:
        schema.require_newest(database)
    made = app.service_of(conf, database)
    application = app.build(conf, made)
    keeper = runner.Keeper(
        database, tasks.prepared(conf), clock=lambda: datetime.datetime.now(datetime.UTC)
    )
    listening = server.listen(
        application, host=arguments.host, port=arguments.port, threads=conf.api.threads
    )
    if conf.api.metrics_port:
        _serve_metrics(conf, made)
    logging.getLogger(__name__).info("Listening on http://%s:%d", arguments.host, arguments.port)
    # As an exception, which waitress takes for the word to end.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    keeper.start()
    try:
        listening.run()
    finally:
        keeper.close(_CLOSE_SECONDS)
    return 0


def _serve_metrics(conf: Any, made: Any) -> None:
    """``/metrics`` without tokens, on a port of its own."""
    from nova_diskaudit.api import app
    from nova_diskaudit.wsgi import server

    listening = server.listen(
        app.metrics_alone(conf, made), host="127.0.0.1", port=conf.api.metrics_port, threads=2
    )
    threading.Thread(target=listening.run, name="metrics", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())

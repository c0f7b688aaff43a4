# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit-manage``: what an operator does to the central service's database, and to what
it needs in Keystone.

Exit status: 0 done; 1 looked at, and something is not as it should be; 2 it could not be done, and
one line on stderr says why.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import uuid
from typing import Any

from nova_diskaudit.cmd import extra, limits
from nova_diskaudit.conf import ConfigurationError

PROGRAM = "nova-diskaudit-manage"


@extra.needed(PROGRAM, "api")
def main(argv: list[str] | None = None) -> int:
    """Run one command."""
    arguments = _parser().parse_args(argv)
    from nova_diskaudit.cloud import CloudError
    from nova_diskaudit.conf import service
    from nova_diskaudit.store import engine, errors

    try:
        conf = service.read(arguments.config_file)
        database = engine.create(conf.database.connection, **service.database(conf))
        status: int = arguments.run(database, arguments, conf)
        return status
    except (CloudError, ConfigurationError, errors.StoreError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog=PROGRAM,
        allow_abbrev=False,
        description="The database of nova-diskaudit's central service, and its limits in Keystone.",
    )
    top.add_argument(
        "--config-file",
        action="append",
        default=[],
        metavar="FILE",
        help="oslo.config file (default: nova-diskaudit-api.conf in /etc/nova-diskaudit)",
    )
    nouns = top.add_subparsers(required=True, metavar="COMMAND")

    database = nouns.add_parser("db", help="its tables").add_subparsers(
        required=True, metavar="COMMAND"
    )
    _command(database, "sync", _db_sync, "make the tables, or bring them to this release")
    _command(database, "version", _db_version, "print the step that the tables stand at")
    _command(database, "check", _db_check, "whether the tables are those of this release")

    host = nouns.add_parser("host", help="who may report for a host").add_subparsers(
        required=True, metavar="COMMAND"
    )
    enroll = _command(host, "enroll", _host_enroll, "let a credential report for a host")
    enroll.add_argument("host", help="name of the host in Nova")
    enroll.add_argument("credential", help="id of the application credential")
    revoke = _command(host, "revoke", _host_revoke, "take that back")
    revoke.add_argument("host", help="name of the host in Nova")
    revoke.add_argument("credential", nargs="?", help="only this one (default: all of the host)")
    listed = _command(host, "list", _host_list, "print what is enrolled")
    listed.add_argument("host", nargs="?", help="only this one")
    renew = _command(
        host, "demand-full", _host_demand_full, "make agents send all that they know, once"
    )
    renew.add_argument("host", nargs="?", help="only this one (default: all hosts)")

    limits.add_to(nouns)
    gnocchi = nouns.add_parser("gnocchi", help="the series in Gnocchi").add_subparsers(
        required=True, metavar="COMMAND"
    )
    _command(
        gnocchi, "setup", _gnocchi_setup, "make the resource type and the archive policy there"
    )

    purge = _command(
        nouns, "purge", _purge, "remove silent hosts and what Nova deleted, as of some time ago"
    )
    purge.add_argument(
        "--older-than", type=_days, required=True, metavar="DAYS", help="at least one"
    )
    return top


def _command(group: Any, name: str, run: Any, words: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = group.add_parser(name, help=words, description=words)
    parser.set_defaults(run=run)
    return parser


def _days(text: str) -> datetime.timedelta:
    number = float(text)
    if not 1 <= number <= 36500:
        raise ValueError
    return datetime.timedelta(days=number)


_days.__name__ = "number of days"  # argparse says: invalid <name> value


def _db_sync(database: Any, arguments: argparse.Namespace, conf: Any) -> int:
    from nova_diskaudit.store import schema

    schema.sync(database)
    print(f"the tables are at {schema.newest()}")
    return 0


def _db_version(database: Any, arguments: argparse.Namespace, conf: Any) -> int:
    from nova_diskaudit.store import schema

    print(schema.current(database) or "none")
    return 0


def _db_check(database: Any, arguments: argparse.Namespace, conf: Any) -> int:
    from nova_diskaudit.store import errors, schema

    try:
        schema.require_newest(database)
    except errors.SchemaError as error:
        print(error)
        return 1
    differences = schema.differences(database)
    for line in differences:
        print(line)
    return 1 if differences else 0


def _host_enroll(database: Any, arguments: argparse.Namespace, conf: Any) -> int:
    from nova_diskaudit.store import enrollment, moment

    now = moment.of(datetime.datetime.now(datetime.UTC))
    enrollment.enroll(database, arguments.credential, arguments.host, at=now)
    return 0


def _host_revoke(database: Any, arguments: argparse.Namespace, conf: Any) -> int:
    from nova_diskaudit.store import enrollment

    revoked = enrollment.revoke(database, arguments.host, arguments.credential)
    print(f"{revoked} revoked")
    return 0 if revoked else 1


def _host_list(database: Any, arguments: argparse.Namespace, conf: Any) -> int:
    from nova_diskaudit.store import enrollment, moment

    for one in enrollment.listed(database, arguments.host):
        when = moment.time(one.enrolled_at).isoformat(timespec="seconds")
        print(f"{one.host}\t{one.credential_id}\t{when}")
    return 0


def _host_demand_full(database: Any, arguments: argparse.Namespace, conf: Any) -> int:
    from nova_diskaudit.store import host

    demanded = host.demand_full(database, arguments.host, new_id=lambda: str(uuid.uuid4()))
    print(f"{demanded} hosts will send a full report")
    return 0 if demanded else 1


def _gnocchi_setup(database: Any, arguments: argparse.Namespace, conf: Any) -> int:
    from nova_diskaudit.cloud import gnocchi

    to = gnocchi.connect(conf)
    policy = conf.gnocchi.archive_policy
    made = to.make_resource_type()
    print(f"resource type {gnocchi.RESOURCE_TYPE}: {'made' if made else 'is as it has to be'}")
    made = to.make_archive_policy(policy)
    print(f"archive policy {policy}: {'made' if made else 'is there'}")
    return 0


def _purge(database: Any, arguments: argparse.Namespace, conf: Any) -> int:
    from nova_diskaudit.store import purge

    before = datetime.datetime.now(datetime.UTC) - arguments.older_than
    purged = purge.purge(database, before=before)
    print(f"{purged.hosts} hosts and {purged.instances} instances removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())

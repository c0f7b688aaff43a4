# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit-manage limits``: our limits in Keystone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from nova_diskaudit.limits import GUEST_USED, HOST_ALLOCATED, SERVICE_TYPES, UNLIMITED

_NO_SERVICE = (
    "Keystone has no service of the type disk-audit. Give --create-service, or make one: "
    "openstack service create --name nova-diskaudit disk-audit"
)


def add_to(nouns: Any) -> None:
    """Add the noun and its commands to the parser of ``nova-diskaudit-manage``."""
    commands = nouns.add_parser("limits", help="limits of projects, in Keystone").add_subparsers(
        required=True, metavar="COMMAND"
    )
    register = _command(
        commands,
        "register",
        _register,
        "register the limits that usages are shown beside; an administrator does it, once",
    )
    for option, words in (
        ("--host-allocated-gib", "what storage may hold for the disks of a project"),
        ("--guest-used-gib", "what the guests of a project may say they use"),
    ):
        register.add_argument(
            option,
            type=_gib,
            metavar="N",
            help=f"{words}, in GiB, if it has no limit of its own; -1 for no limit, which is the "
            "default at first (default: as it is)",
        )
    register.add_argument(
        "--region", help="region of the limits (default: [nova] region_name, else none)"
    )
    register.add_argument(
        "--create-service",
        action="store_true",
        help="make the service of the type disk-audit if Keystone has none; its endpoints are "
        "still to be made",
    )
    show = _command(commands, "show", _show, "print what is set in Keystone")
    show.add_argument("project", nargs="?", help="id of a project: what holds for it")
    for one in (register, show):
        one.add_argument(
            "--os-cloud",
            metavar="NAME",
            help="with the credentials of this cloud in clouds.yaml, or of the variables OS_* if "
            "it is envvars (default: those of [keystone], else of [nova])",
        )


def _command(group: Any, name: str, run: Any, words: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = group.add_parser(name, help=words, description=words)
    parser.set_defaults(run=run)
    return parser


def _gib(text: str) -> int:
    number = int(text)
    if not UNLIMITED <= number < 2**31:
        raise ValueError
    return number


_gib.__name__ = "number of GiB"  # argparse says: invalid <name> value


def _keystone(arguments: argparse.Namespace, conf: Any, region: str | None) -> Any:
    from nova_diskaudit.cloud import connection, keystone

    if arguments.os_cloud is not None:
        connected = connection.connect_as(arguments.os_cloud, timeout=conf.nova.timeout)
    else:
        connected = connection.connect(conf, group="keystone")
    return keystone.Keystone(connected, region)


def _register(database: Any, arguments: argparse.Namespace, conf: Any) -> int:
    cloud = _keystone(arguments, conf, arguments.region or conf.nova.region_name)
    services = cloud.services()
    if not services and arguments.create_service:
        services = [cloud.create_service()]
        print(f"service {services[0].id} of the type disk-audit: made")
    if not services:
        print(f"nova-diskaudit-manage: {_NO_SERVICE}", file=sys.stderr)
        return 2
    if len(services) > 1:
        ids = ", ".join(one.id for one in services)
        print(
            "nova-diskaudit-manage: Keystone has several services of the type disk-audit, of which "
            f"one is to stay: {ids}",
            file=sys.stderr,
        )
        return 2
    wanted = {
        HOST_ALLOCATED: arguments.host_allocated_gib,
        GUEST_USED: arguments.guest_used_gib,
    }
    for name, default_gib in wanted.items():
        found, outcome = cloud.register(services[0].id, name, default_gib)
        print(f"{name}: {_words(found.default_limit)} ({outcome})")
    return 0


def _show(database: Any, arguments: argparse.Namespace, conf: Any) -> int:
    cloud = _keystone(arguments, conf, conf.nova.region_name)
    found = cloud.limits()
    print(f"enforcement model: {found.model}")
    lines = _of_project(cloud, found, arguments.project) if arguments.project else _of_all(found)
    for name in SERVICE_TYPES:
        print(f"{name}: {lines.get(name, 'not registered')}")
    return 0 if {HOST_ALLOCATED, GUEST_USED} <= lines.keys() else 1


def _of_all(found: Any) -> Mapping[str, str]:
    return {
        name: f"{_words(one.registered.default_limit)}, other limits for {len(one.projects)} "
        f"projects and {len(one.domains)} domains"
        for name, one in found.by_name.items()
    }


def _of_project(cloud: Any, found: Any, project_id: str) -> Mapping[str, str]:
    from nova_diskaudit.limits import HIERARCHICAL
    from nova_diskaudit.reconcile import limits

    domains = cloud.domains() if found.model == HIERARCHICAL else {}
    held = {(one.project_id, one.name): one for one in limits.as_they_hold(found, domains)}
    lines = {}
    for name in found.by_name:
        one = held.get((project_id, name), held["", name])
        shared = "" if one.shared_gib is None else f", all of its domain {one.shared_gib} GiB"
        lines[name] = _words(one.limit_gib) + shared
    return lines


def _words(gib: int) -> str:
    return "unlimited" if gib == UNLIMITED else f"{gib} GiB"

# SPDX-License-Identifier: Apache-2.0
"""Snapshots from the central service, by openstacksdk, with ``[disk_audit]`` of nova.conf."""

from __future__ import annotations

import datetime
import importlib.metadata
import itertools
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import keystoneauth1.exceptions
import keystoneauth1.session
import openstack.connection
import requests
from keystoneauth1 import loading
from oslo_config import cfg

from nova_diskaudit import sdk
from nova_diskaudit.conf import ConfigurationError, disk_audit
from nova_diskaudit.scheduler import projects, snapshot
from nova_diskaudit.scheduler.snapshot import Ages, Moment, Rules, Snapshot

if TYPE_CHECKING:
    from nova_diskaudit.sdk._proxy import DiskAuditProxy

LOG = logging.getLogger(__name__)

_GROUP = disk_audit.GROUP.name
#: Small pages: reading one holds the interpreter from Nova's threads for a few milliseconds.
_PAGE = 200
_MOST_HOSTS = 200_000
_SHOWN = 10


class Source:
    """Each call is one look at the service; what one look alone does not tell is kept here.

    :raises ValueError: for options that cannot be used.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        own = conf.nova_diskaudit
        self._with_projects = bool(own.project_limits)
        self._rules = Rules(own.min_free_ratio, own.min_free_bytes, float(own.max_age))
        self._service: DiskAuditProxy | None = None
        self._hosts = Ages()
        self._usages = Ages()
        self._before = snapshot.EMPTY
        self._told: dict[str, frozenset[str]] = {}

    def __call__(self) -> Snapshot:
        """Look now.

        The last snapshot stands, and grows old, when this raises.

        :raises ConfigurationError: for options that are missing or cannot be used.
        :raises openstack.exceptions.SDKException: when the service does not answer as it should.
        :raises keystoneauth1.exceptions.ClientException: the same, or Keystone.
        """
        now = Moment(time.monotonic(), datetime.datetime.now(datetime.UTC))
        try:
            if self._service is None:
                self._service = connect(self._conf)
            hosts, unreadable = _hosts(self._service)
            past = self._past_limit(self._service, hosts, now)
        except Exception:
            # The address may be another one by now, and so may the password.
            self._service = None
            raise
        found = dict(snapshot.readings(hosts, self._hosts, now, self._rules, self._before.readings))
        self._hosts.close(now.monotonic)
        self._usages.close(now.monotonic)
        new = Snapshot(
            {name: reading for name, reading in found.items() if reading is not None},
            past,
            frozenset(name for name, reading in found.items() if reading is None),
        )
        self._tell(new, unreadable, now.monotonic)
        self._before = new
        return new

    def _past_limit(
        self, service: DiskAuditProxy, hosts: Iterable[snapshot.Host], now: Moment
    ) -> Mapping[str, float]:
        if not self._with_projects:
            return {}
        implausible = frozenset(one.name for one in hosts if one.is_implausible)
        past = projects.past_limit(service, implausible, self._usages, now)
        return {project: made_at + self._rules.max_age for project, made_at in past}

    def _tell(self, new: Snapshot, unreadable: Collection[str], now: float) -> None:
        """Write to Nova's log what changed since the last look, and nothing else."""
        fresh = {name: one for name, one in new.readings.items() if one.good_until >= now}
        full = [name for name, one in fresh.items() if one.is_full]
        past = [name for name, until in new.projects.items() if until >= now]
        info, warning = logging.INFO, logging.WARNING
        if fresh and not self._before.readings:
            LOG.info("Disk audit: the figures of %d hosts are known", len(fresh))
        self._tell_change(info, "hosts too full for new servers", full)
        self._tell_change(info, "projects past their limit", past)
        self._tell_change(
            warning,
            "hosts with an old report, no opinion about them",
            new.readings.keys() - fresh.keys(),
        )
        self._tell_change(
            warning,
            "hosts whose report does not tell what is free for instances, no opinion about them",
            new.unclear,
        )
        self._tell_change(
            warning,
            "hosts of Nova that do not report, no opinion about them",
            self._before.unheard.difference(new.readings, new.unclear),
        )
        self._tell_change(warning, "entries that are not understood", unreadable)

    def _tell_change(self, level: int, what: str, names: Collection[str]) -> None:
        if self._told.get(what, frozenset()) == frozenset(names):
            return
        self._told[what] = frozenset(names)
        some = ", ".join(sorted(names)[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        LOG.log(level, "Disk audit: %d %s%s", len(names), what, f": {some}" if some else "")


def _hosts(service: DiskAuditProxy) -> tuple[list[snapshot.Host], list[str]]:
    """All hosts, and the names of entries that have another form than documented."""
    hosts, unreadable = [], []
    for told in itertools.islice(service.hosts(limit=_PAGE), _MOST_HOSTS):
        one = snapshot.host(told)
        if one is None:
            unreadable.append(str(told.id))
        else:
            hosts.append(one)
    return hosts, unreadable


def connect(conf: cfg.ConfigOpts) -> DiskAuditProxy:
    """The service as ``[disk_audit]`` describes the way to it. Nothing is asked yet.

    :raises ConfigurationError: for options that are missing or cannot be used.
    """
    try:
        disk_audit.register(conf)
        group = conf[_GROUP]
        auth = loading.load_auth_from_conf_options(conf, _GROUP)
        if auth is None:
            raise ConfigurationError(
                f"[{_GROUP}] auth_type is not set: name a kind of credentials (password, "
                "v3applicationcredential) of a user who may see all hosts"
            )
        session = loading.session.Session().load_from_options(
            insecure=group.insecure,
            cacert=group.cafile,
            cert=group.certfile,
            key=group.keyfile,
            timeout=group.timeout,
            auth=auth,
            session=_http_session(group),
            app_name="nova-diskaudit-scheduler",
            app_version=importlib.metadata.version("nova-diskaudit"),
        )
    except (
        cfg.Error,
        ValueError,
        OSError,
        keystoneauth1.exceptions.ClientException,
    ) as error:
        raise ConfigurationError(f"[{_GROUP}] {error}") from error
    # openstacksdk takes a service's options by its name before each, and no configuration group.
    options = {
        "service_type": group.service_type,
        "service_name": group.service_name,
        "interface": group.valid_interfaces,
        "region_name": group.region_name,
        "endpoint_override": group.endpoint_override,
    }
    connection = openstack.connection.Connection(
        session=session,
        **{
            f"{sdk.ATTRIBUTE}_{name}": value for name, value in options.items() if value is not None
        },
    )
    sdk.register(connection)
    return sdk.of(connection)


def _http_session(group: Any) -> requests.Session | None:
    """As keystoneauth makes it for itself, but with the TLS that was asked for."""
    tls = {name: group[name] for name in disk_audit.TLS if group[name] is not None}
    if not tls:
        return None
    made = requests.Session()
    for scheme in list(made.adapters):
        made.mount(scheme, keystoneauth1.session.TCPKeepAliveAdapter(**tls))
    return made

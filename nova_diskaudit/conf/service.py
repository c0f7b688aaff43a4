# SPDX-License-Identifier: Apache-2.0
"""The options of the central service, and of the commands beside it.

It reads the files ``nova-diskaudit-api.conf`` and ``nova-diskaudit-api.conf.d`` of
``/etc/nova-diskaudit``; the agent's file is another one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from keystonemiddleware import opts as keystonemiddleware_opts
from oslo_config import cfg
from oslo_db import options as oslo_db_options
from oslo_log import log
from oslo_middleware import opts as oslo_middleware_opts
from oslo_policy import opts as oslo_policy_opts

from nova_diskaudit.conf import (
    ConfigurationError,
    api,
    gnocchi,
    keystone,
    keystoneauth,
    limits,
    nova,
    placement,
    reconcile,
    rollup,
)

PROJECT = "nova-diskaudit"
PROGRAM = "nova-diskaudit-api"

DATABASE = "sqlite:////var/lib/nova-diskaudit/service.sqlite"
SERVICE_TYPE = "disk-audit"

_AUTH_TOKEN_GROUP = "keystone_authtoken"
# The token of an agent has to outlive the time from one report to the next, or Keystone is asked
# for each of them.
_AUTH_TOKEN_DEFAULTS = {"service_type": SERVICE_TYPE, "token_cache_time": 900}

# Options of oslo.db that mean something here: one engine, and no retries but our own.
_DATABASE = (
    "connection",
    "connection_parameters",
    "connection_recycle_time",
    "max_overflow",
    "max_pool_size",
    "mysql_sql_mode",
    "mysql_wsrep_sync_wait",
    "pool_timeout",
)
_DATABASE_GROUP = cfg.OptGroup("database", title="The central service's database")


def options() -> list[tuple[Any, list[cfg.Opt]]]:
    """All groups with what is registered at once."""
    database = [one for one in oslo_db_options.database_opts if one.name in _DATABASE]
    cfg.set_defaults(database, connection=DATABASE, max_pool_size=10)
    return [
        (api.GROUP, api.OPTIONS),
        (_DATABASE_GROUP, database),
        (nova.GROUP, nova.OPTIONS),
        (placement.GROUP, placement.OPTIONS),
        (keystone.GROUP, keystone.OPTIONS),
        (limits.GROUP, limits.OPTIONS),
        (gnocchi.GROUP, gnocchi.OPTIONS),
        (reconcile.GROUP, reconcile.OPTIONS),
        (rollup.GROUP, rollup.OPTIONS),
        *keystonemiddleware_opts.list_auth_token_opts(),
        *oslo_policy_opts.list_opts(),
        *_proxy(),
    ]


def list_opts() -> list[tuple[Any, list[cfg.Opt]]]:
    """Groups and options, the form oslo-config-generator asks for."""
    listed = []
    for group, found in options():
        if group in (nova.GROUP, gnocchi.GROUP):
            found = keystoneauth.with_credentials(found)
        elif group == _AUTH_TOKEN_GROUP:
            cfg.set_defaults(found, **_AUTH_TOKEN_DEFAULTS)
        listed.append((group, found))
    return listed


def unread() -> cfg.ConfigOpts:
    """All options, before any file was read."""
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    # alembic tells at each look at the tables which of its plugins it has, and waitress of each
    # request that had to wait for a thread.
    quiet = ["alembic=WARN", "waitress.queue=ERROR"]
    conf.set_default("default_log_levels", [*log.get_default_log_levels(), *quiet])
    for group, found in options():
        if isinstance(group, cfg.OptGroup):
            # A group of its own: what oslo.config sets for one ConfigOpts is kept in the group,
            # and every other one that has the same would have it as well.
            group = cfg.OptGroup(group.name, title=group.title)
            conf.register_group(group)
        conf.register_opts(found, group=group)
    # Not by changed options: keystonemiddleware registers its own once more, and equal ones only.
    for name, value in _AUTH_TOKEN_DEFAULTS.items():
        conf.set_default(name, value, group=_AUTH_TOKEN_GROUP)
    return conf


def read(files: Sequence[str] = ()) -> cfg.ConfigOpts:
    """The configuration of these files, or of the usual ones; logging is set up as it says.

    :raises ConfigurationError: when it cannot be used.
    """
    conf = unread()
    try:
        conf(
            [],
            project=PROJECT,
            prog=PROGRAM,
            default_config_files=list(files) or usual_files(),
            default_config_dirs=[] if files else _own(cfg.find_config_dirs(PROJECT, PROGRAM)),
        )
        for group, found in options():
            name = group.name if isinstance(group, cfg.OptGroup) else group
            for one in found:
                conf[name][one.dest] if name else conf[one.dest]
        setup_logging(conf)
    except (cfg.Error, ValueError, OSError, log.LogConfigError) as error:
        raise ConfigurationError(" ".join(str(error).split())) from error
    return conf


def usual_files() -> list[str]:
    """Those that are read when none is named."""
    return _own(cfg.find_config_files(PROJECT, PROGRAM))


def setup_logging(conf: cfg.ConfigOpts) -> None:
    """Log as the configuration says; to stderr, if it says nothing: oslo.log would take stdout."""
    if not (conf.log_file or conf.log_dir or conf.use_journal):
        conf.set_default("use_stderr", True)
    log.setup(conf, PROGRAM)


def _own(files: list[str]) -> list[str]:
    """Without the agent's file, which oslo.config finds by the name of the project."""
    return [name for name in files if name.rpartition("/")[2].startswith(PROGRAM)]


@functools.cache
def _proxy() -> list[tuple[str, list[cfg.Opt]]]:
    found = oslo_middleware_opts.list_opts_http_proxy_to_wsgi()
    return [(group, list(options)) for group, options in found]


def database(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """The options of ``[database]`` beside its URL."""
    return {name: conf.database[name] for name in _DATABASE if name != "connection"}


def keeps_map(conf: cfg.ConfigOpts) -> bool:
    """Whether Nova is asked whose an instance is.

    :raises ConfigurationError: for options that contradict each other.
    """
    keystone = conf.api.auth_strategy == "keystone"
    nova_is_kept: bool = keystone if conf.nova.enabled is None else conf.nova.enabled
    if keystone and not nova_is_kept:
        raise ConfigurationError(
            "[nova] enabled = false needs [api] auth_strategy = noauth: what a host says of "
            "itself must not decide what a tenant sees"
        )
    return nova_is_kept

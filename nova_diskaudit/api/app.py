# SPDX-License-Identifier: Apache-2.0
"""The application, assembled: what every request passes on its way to a handler."""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa
from keystonemiddleware import auth_token
from oslo_config import cfg
from oslo_middleware import http_proxy_to_wsgi, request_id

from nova_diskaudit.api import dispatch, fault, identity, openapi, policy, routes
from nova_diskaudit.api.call import Service
from nova_diskaudit.conf import ConfigurationError
from nova_diskaudit.conf import service as configuration

LOG = logging.getLogger(__name__)

Wsgi = Any


def service_of(conf: cfg.ConfigOpts, engine: sa.Engine) -> Service:
    """What all calls have in common.

    :raises ConfigurationError: for options that contradict each other.
    """
    keystone = conf.api.auth_strategy == "keystone"
    return Service(
        engine=engine,
        enforcer=policy.make(conf),
        nova=configuration.keeps_map(conf),
        gnocchi=conf.gnocchi.enabled,
        enrollment=keystone,
        first_report_enrolls=conf.api.enrollment == "first-report",
        takeover_after_seconds=float(conf.api.takeover_after),
        max_limit=conf.api.max_limit,
        stale_after_seconds=float(conf.api.stale_after),
        scheduler_enforces=conf.limits.scheduler_enforces,
        metrics_projects=conf.api.metrics_projects,
        now=lambda: datetime.datetime.now(datetime.UTC),
        document=openapi.document(),
    )


def build(conf: cfg.ConfigOpts, service: Service) -> Wsgi:
    """The whole application.

    :raises ConfigurationError:
    """
    if conf.api.auth_strategy == "noauth":
        return assemble(conf, service, identity.by_loopback)
    if conf.keystone_authtoken.token_cache_time == 0:
        raise ConfigurationError(
            "[keystone_authtoken] token_cache_time = 0 would believe a token for ever once it was "
            "seen, whatever became of it: -1 keeps none"
        )
    if conf.keystone_authtoken.token_cache_time < 900:
        LOG.warning(
            "[keystone_authtoken] token_cache_time = %d: Keystone will be asked for each report "
            "of an agent with a longer interval",
            conf.keystone_authtoken.token_cache_time,
        )

    def authenticate(application: Wsgi) -> Wsgi:
        options = {"oslo_config_config": conf}
        checked = auth_token.AuthProtocol(identity.by_keystone(application), options)
        return _only_where_needed(checked, application)

    return assemble(conf, service, authenticate)


def metrics_alone(conf: cfg.ConfigOpts, service: Service) -> Wsgi:
    """An application that knows nothing but ``/metrics``, and answers on loopback without a token.

    A scraper has no token of Keystone. Whoever is on this machine may see the sums of all projects.
    """
    table = [route for route in routes.ROUTES if route.path == "/metrics"]
    return assemble(conf, service, identity.by_loopback, table)


def assemble(
    conf: cfg.ConfigOpts,
    service: Service,
    authenticate: Callable[[Wsgi], Wsgi],
    table: Iterable[routes.Route] = routes.ROUTES,
) -> Wsgi:
    """The application behind its middlewares.

    The list reads as a request goes: the proxy's word about scheme and host, an id for the
    request, errors of what follows in our words, who asks.
    """
    application: Wsgi = dispatch.application(service, table)
    for middleware in reversed(
        (
            lambda inner: http_proxy_to_wsgi.HTTPProxyToWSGI(inner, conf),
            request_id.RequestId,
            fault.translated,
            authenticate,
        )
    ):
        application = middleware(application)
    return application


def _only_where_needed(authenticated: Wsgi, plain: Wsgi) -> Wsgi:
    """Calls that are for anybody need no token, and a bad one beside them does no harm."""
    public = [
        re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route.path)))
        for route in routes.ROUTES
        if isinstance(route.access, policy.Public)
    ]

    def choose(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get("PATH_INFO") or "/"
        is_public = any(pattern.fullmatch(path) for pattern in public)
        return (plain if is_public else authenticated)(environ, start_response)

    return choose

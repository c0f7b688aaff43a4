# SPDX-License-Identifier: Apache-2.0
"""The way to the cloud's services, by openstacksdk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keystoneauth1.exceptions
import keystoneauth1.session
import openstack.connection
import openstack.exceptions
import requests
from keystoneauth1 import loading
from oslo_config import cfg

from nova_diskaudit.cloud import CloudError
from nova_diskaudit.conf import ConfigurationError

#: Group of options, and the service that it is about.
_SERVICES = {"nova": "compute", "placement": "placement", "keystone": "identity"}
_USUAL = "nova"


def session(
    conf: cfg.ConfigOpts, name: str, credentials: str | None = None
) -> keystoneauth1.session.Session:
    """A session as the group ``name`` describes it. Nothing is asked yet.

    :param credentials: the group that holds them, if it is another one.
    :raises ConfigurationError: for options that are missing or cannot be used.
    """
    group, holder = conf[name], credentials or name
    try:
        auth = loading.load_auth_from_conf_options(conf, holder)
        if auth is None:
            raise ConfigurationError(
                f"[{holder}] auth_type is not set: name a kind of credentials (password, "
                "v3applicationcredential)"
            )
        return loading.session.Session().load_from_options(
            insecure=group.insecure,
            cacert=group.cafile,
            cert=group.certfile,
            key=group.keyfile,
            timeout=group.timeout,
            auth=auth,
            app_name="nova-diskaudit",
        )
    except (
        cfg.Error,
        ValueError,
        OSError,
        keystoneauth1.exceptions.ClientException,
    ) as error:
        raise ConfigurationError(f"[{holder}] {error}") from error


def connect(conf: cfg.ConfigOpts, group: str = "nova") -> openstack.connection.Connection:
    """A connection to the service that ``group`` describes. Nothing is asked yet.

    There is one user who reads all of the cloud, that of ``[nova]``. What ``[placement]`` and
    ``[keystone]`` leave unset is as it is there.

    :param group: ``nova``, ``placement`` or ``keystone``.
    :raises ConfigurationError: for options that are missing or cannot be used.
    """
    usual, own = conf[_USUAL], conf[group]
    has_own = "auth_type" in own and (own.auth_type or own.auth_section)
    made = session(conf, _USUAL, credentials=group if has_own else None)
    # openstacksdk takes a service's options by its name alone, and ignores a configuration group.
    options = {
        "interface": own.valid_interfaces or usual.valid_interfaces,
        "region_name": own.region_name or usual.region_name,
        "endpoint_override": own.endpoint_override,
        "connect_retries": 2,
        "status_code_retries": 2,
    }
    return openstack.connection.Connection(
        session=made,
        **{
            f"{_SERVICES[group]}_{name}": value
            for name, value in options.items()
            if value is not None
        },
    )


def connect_as(cloud: str, *, timeout: float) -> openstack.connection.Connection:
    """A connection by ``clouds.yaml``, as other commands of OpenStack use it.

    :param cloud: its name there; ``envvars`` for the variables ``OS_*`` of the environment.
    :param timeout: seconds for which a service may be silent.
    :raises ConfigurationError: when there is no such cloud, or it cannot be used.
    """
    try:
        return openstack.connection.Connection(
            cloud=cloud, api_timeout=timeout, app_name="nova-diskaudit"
        )
    except (
        openstack.exceptions.SDKException,
        keystoneauth1.exceptions.ClientException,
        ValueError,
        OSError,
    ) as error:
        raise ConfigurationError(f"cloud {cloud}: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of the libraries below, as those of this room."""
    try:
        yield
    except (
        keystoneauth1.exceptions.ClientException,
        openstack.exceptions.SDKException,
        requests.RequestException,
    ) as error:
        raise CloudError(" ".join(f"{type(error).__name__}: {error}".split())[:300]) from error

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

_GROUP = "nova"


def session(conf: cfg.ConfigOpts, name: str) -> keystoneauth1.session.Session:
    """A session as the group ``name`` describes it. Nothing is asked yet.

    :raises ConfigurationError: for options that are missing or cannot be used.
    """
    group = conf[name]
    try:
        auth = loading.load_auth_from_conf_options(conf, name)
        if auth is None:
            raise ConfigurationError(
                f"[{name}] auth_type is not set: name a kind of credentials (password, "
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
        raise ConfigurationError(f"[{name}] {error}") from error


def connect(conf: cfg.ConfigOpts) -> openstack.connection.Connection:
    """A connection as ``[nova]`` describes it. Nothing is asked yet.

    :raises ConfigurationError: for options that are missing or cannot be used.
    """
    group = conf[_GROUP]
    made = session(conf, _GROUP)
    # openstacksdk takes a service's options by its name alone, and ignores a configuration group.
    options = {
        "compute_interface": group.valid_interfaces,
        "compute_region_name": group.region_name,
        "compute_endpoint_override": group.endpoint_override,
        "compute_connect_retries": 2,
        "compute_status_code_retries": 2,
    }
    return openstack.connection.Connection(
        session=made, **{name: value for name, value in options.items() if value is not None}
    )


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

# SPDX-License-Identifier: Apache-2.0
"""The central service for openstacksdk: ``conn.disk_audit``.

In a program::

    sdk.register(connection)
    connection.disk_audit.hosts()

or, without code, by ``vendor_hook: "nova_diskaudit.sdk:register"`` in ``clouds.yaml``.
(``Connection(extra_services=[...])`` and ``Connection(oslo_conf=...)`` do nothing for a service
that openstacksdk does not know itself: both take their argument and forget it.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openstack import service_description

from nova_diskaudit.sdk import _proxy

if TYPE_CHECKING:
    from openstack import connection

#: The type in Keystone's catalog. The URL there ends before ``/v1``.
SERVICE_TYPE = "disk-audit"
#: The same as a name: of the connection's attribute, and before each of its options.
ATTRIBUTE = "disk_audit"


if TYPE_CHECKING:
    _Description = service_description.ServiceDescription[_proxy.DiskAuditProxy]
else:
    _Description = service_description.ServiceDescription  # not generic in older releases


class DiskAuditService(_Description):
    """What openstacksdk has to know of the service."""

    # openstacksdk declares it so, as it does the registry of a proxy.
    supported_versions = {"1": _proxy.DiskAuditProxy}  # noqa: RUF012


def register(conn: connection.Connection) -> None:
    """Give ``conn`` its ``disk_audit``. Nothing is asked of the cloud yet."""
    conn.add_service(DiskAuditService(SERVICE_TYPE))


def of(conn: connection.Connection) -> _proxy.DiskAuditProxy:
    """``conn.disk_audit`` with its type, of a connection that was registered.

    The first use asks Keystone for a token and looks into its catalog.

    :raises keystoneauth1.exceptions.ClientException: when that fails.
    :raises openstack.exceptions.SDKException: when the service has no endpoint there.
    """
    proxy: _proxy.DiskAuditProxy = conn.disk_audit  # type: ignore[attr-defined]
    return proxy

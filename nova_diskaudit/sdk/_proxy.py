# SPDX-License-Identifier: Apache-2.0
"""The calls of the service, as ``conn.disk_audit`` offers them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from openstack import proxy

from nova_diskaudit.sdk import report as _report
from nova_diskaudit.sdk.finding import Finding
from nova_diskaudit.sdk.host import Host
from nova_diskaudit.sdk.instance import Instance
from nova_diskaudit.sdk.usage import Usage, UsagePoint

if TYPE_CHECKING:
    import requests


class DiskAuditProxy(proxy.Proxy):
    """Version 1 of the service.

    Lists are read page by page, by the ``links`` of each page; a ``next`` there has to be a whole
    URL, for of a path that begins with ``/v`` openstacksdk drops the first word.
    """

    api_version: ClassVar[str] = "1"
    #: The paths carry the version, so there is nothing to discover: one request less, and a
    #: service that is down is not asked twice.
    skip_discovery = True
    _resource_registry = {  # noqa: RUF012 as declared above it
        "finding": Finding,
        "host": Host,
        "instance": Instance,
        "usage": Usage,
        "usage_point": UsagePoint,
    }

    def hosts(self, **query: Any) -> Iterator[Host]:
        """Hosts that report, with what the service knows of each report."""
        found: Iterator[Host] = self._list(Host, **query)
        return found

    def get_host(self, host: str | Host) -> Host:
        """One host by its name.

        :raises openstack.exceptions.NotFoundException: when it never reported.
        """
        return self._get(Host, host)

    def instances(self, **query: Any) -> Iterator[Instance]:
        """Instances with their disks, those that the caller may see."""
        found: Iterator[Instance] = self._list(Instance, **query)
        return found

    def get_instance(self, instance: str | Instance) -> Instance:
        """One instance by its UUID.

        :raises openstack.exceptions.NotFoundException: when no host reported it.
        """
        return self._get(Instance, instance)

    def findings(self, **query: Any) -> Iterator[Finding]:
        """Findings by code, those that the caller may see."""
        found: Iterator[Finding] = self._list(Finding, **query)
        return found

    def usages(self, **query: Any) -> Iterator[Usage]:
        """What projects' disks hold: of the caller's own, of ``project_id``, or of all."""
        found: Iterator[Usage] = self._list(Usage, **query)
        return found

    def usage_history(self, **query: Any) -> Iterator[UsagePoint]:
        """The past of a project by hours, or of an ``instance`` by days."""
        found: Iterator[UsagePoint] = self._list(UsagePoint, **query)
        return found

    def report(self, host: str, packed: bytes) -> requests.Response:
        """Put one report of ``host``; ``packed`` is its JSON in gzip.

        The answer comes whatever its status is, with a body that was not read yet: read as much
        of it as you want, then close it. A redirect is not followed, for it would carry token and
        report to a place that the catalog does not know.

        :raises ValueError: for a host name that cannot be part of a URL.
        :raises keystoneauth1.exceptions.ClientException: no token, no endpoint, no connection.
        """
        return self.put(
            _report.path(host),
            data=packed,
            headers=dict(_report.HEADERS),
            redirect=False,
            stream=True,
            # The debug log would read the whole answer, and try the gzip as text.
            log=False,
            connect_retries=0,
            status_code_retries=0,
        )

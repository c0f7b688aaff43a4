# SPDX-License-Identifier: Apache-2.0
"""What Nova says of its instances: whose they are, where they are, and what moves.

Nova leaves instances of a cell that is down out of any answer that is filtered or paged, without
a word (its API guide, "Handling Down Cells"). So an answer is complete only if the list of compute
services names nobody as unknown, before it and after it; :meth:`Nova.health` asks that.
"""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Iterator

import msgspec
import openstack.connection

from nova_diskaudit.cloud import CloudError, answer

#: Stein. Cells that are down are told since then; the flavor is in a server since 2.47, and
#: migrations have pages since 2.59.
_MICROVERSION = "2.69"
_PAGE = 1000
_MAX_PAGES = 10_000

#: A migration or resize that is not over. "finished" waits to be confirmed.
_OPEN = (
    "accepted",
    "queued",
    "preparing",
    "pre-migrating",
    "running",
    "migrating",
    "post-migrating",
    "finished",
    "confirming",
    "reverting",
)


class Flavor(msgspec.Struct, frozen=True):
    """What an instance was promised; swap is in MiB, the others in GiB."""

    disk: int | None = None
    ephemeral: int | None = None
    swap: int | str | None = None


class Server(msgspec.Struct, frozen=True):
    """One instance. ``host`` is unset if these credentials may not see it."""

    id: str
    status: str
    project_id: str = msgspec.field(name="tenant_id")
    user_id: str | None = None
    name: str | None = None
    host: str | msgspec.UnsetType | None = msgspec.field(
        name="OS-EXT-SRV-ATTR:host", default=msgspec.UNSET
    )
    task_state: str | None = msgspec.field(name="OS-EXT-STS:task_state", default=None)
    flavor: Flavor = Flavor()

    @property
    def is_deleted(self) -> bool:
        """Whether it is no more; a soft-deleted one may come back and still has its disks."""
        return self.status == "DELETED"

    @property
    def is_partial(self) -> bool:
        """Whether its cell is down, so that this is all that is known."""
        return self.status == "UNKNOWN"


class Migration(msgspec.Struct, frozen=True):
    """A migration, resize or evacuation that is open. A destination may not be chosen yet."""

    uuid: str
    instance_uuid: str
    source_compute: str | None = None
    dest_compute: str | None = None


class Health(msgspec.Struct, frozen=True):
    """Nova's own time, and the hosts of cells that are down.

    The time is that of the answer. uWSGI alone writes no ``Date``, nor does HAProxy before it: then
    it is that of the newest sign of life of a compute service, which is up to ``[DEFAULT]
    report_interval`` of Nova (10 s) old. None if there is neither.
    """

    now: datetime.datetime | None
    unreachable_hosts: tuple[str, ...]


class _Link(msgspec.Struct):
    rel: str


class _Servers(msgspec.Struct):
    servers: list[Server]
    servers_links: list[_Link] = []


class _Migrations(msgspec.Struct):
    migrations: list[Migration]
    migrations_links: list[_Link] = []


class _Service(msgspec.Struct):
    host: str
    status: str
    #: UTC, without saying so; None if it never reported, absent if its cell is down
    updated_at: datetime.datetime | None = None


class _Services(msgspec.Struct):
    services: list[_Service]


class Nova:
    """Nova's API as an operator sees it."""

    def __init__(self, connection: openstack.connection.Connection) -> None:
        self._connection = connection

    def health(self) -> Health:
        """What the time is there, and who cannot be asked.

        :raises CloudError:
        """
        data, date = self._get("/os-services", {"binary": "nova-compute"})
        found = answer.decode(data, _Services, "compute")
        hosts = sorted(one.host for one in found.services if one.status == "UNKNOWN")
        if date is None:
            told = [_utc(one.updated_at) for one in found.services if one.updated_at is not None]
            date = max(told, default=None)
        return Health(now=date, unreachable_hosts=tuple(hosts))

    def servers(self, changed_since: datetime.datetime | None = None) -> Iterator[list[Server]]:
        """All instances of all projects, page by page.

        :param changed_since: only those that changed since, and those deleted since as well; by
            Nova's clock.
        :raises CloudError:
        """
        query = {"all_tenants": "true", "limit": str(_PAGE)}
        if changed_since is not None:
            query["changes-since"] = changed_since.isoformat(timespec="seconds")
        else:
            # They still have their disks, and may be restored.
            query["soft_deleted"] = "true"
        for _ in range(_MAX_PAGES):
            data, _date = self._get("/servers/detail", query)
            page = answer.decode(data, _Servers, "compute")
            if any(one.host is msgspec.UNSET and not one.is_partial for one in page.servers):
                raise CloudError(
                    "these credentials may not see on which host an instance is "
                    "(os_compute_api:os-extended-server-attributes)"
                )
            yield page.servers
            if not page.servers or not _continues(page.servers_links):
                return
            query["marker"] = page.servers[-1].id
        raise CloudError(f"more than {_MAX_PAGES} pages of servers")

    def open_migrations(self) -> Iterator[Migration]:
        """All that are not over.

        :raises CloudError:
        """
        for status in _OPEN:
            query = {"status": status, "limit": str(_PAGE)}
            for _ in range(_MAX_PAGES):
                data, _date = self._get("/os-migrations", query)
                page = answer.decode(data, _Migrations, "compute")
                yield from page.migrations
                if not page.migrations or not _continues(page.migrations_links):
                    break
                query["marker"] = page.migrations[-1].uuid

    def _get(self, path: str, query: dict[str, str]) -> tuple[bytes, datetime.datetime | None]:
        told = answer.fetch(
            self._connection,
            "compute",
            "GET",
            path,
            params=query,
            microversion=_MICROVERSION,
        )
        date = told.headers.get("Date")
        if date is None:
            return told.data, None
        try:
            when = email.utils.parsedate_to_datetime(date)
        except (TypeError, ValueError):
            raise CloudError(f"the date of an answer of Nova is none: {date[:40]!r}") from None
        return told.data, _utc(when)


def _utc(when: datetime.datetime) -> datetime.datetime:
    return when.replace(tzinfo=when.tzinfo or datetime.UTC)


def _continues(links: list[_Link]) -> bool:
    return any(link.rel == "next" for link in links)

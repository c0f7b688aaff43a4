# SPDX-License-Identifier: Apache-2.0
"""What Placement was promised: by project, and by provider (a compute node, or a shared pool).

A claim is what Nova wrote there when it placed an instance, in whole GiB of its flavor. It is no
measurement: nothing lowers it when a disk stays empty.

What a provider's generation tells (Placement 16, ``objects/allocation.py``; tested): it moves when
something is promised of the provider, and when a consumer is emptied, which is how Nova ends a
migration. It does *not* move when a consumer is deleted, which is how Nova ends a server that is
deleted or shelved; nor when a consumer is moved to other providers by one write. So who asks only
where it moved misses no new claim, and may still believe in one that is gone.

By Placement's default policy these questions need the role ``admin`` (or ``service``) on a project.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
import openstack.connection

from nova_diskaudit.cloud import CloudError, answer

_T = TypeVar("_T")

#: Rocky: providers have a root and a generation, consumers a generation. Types of consumers
#: (1.38) are of no use: Nova does not write them.
_MICROVERSION = "1.28"
_MAX_PROVIDERS = 200_000
_MAX_CONSUMERS = 100_000

DISK_GB = "DISK_GB"

_Uuid = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F-]{36}$")]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
#: so that GiB, in bytes, fit into 64 bits
_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**33)]
#: by class of resource
Resources = dict[_Name, _Count]


class Provider(msgspec.Struct, frozen=True):
    """Who has resources. What its ``generation`` tells and what not, see above."""

    uuid: _Uuid
    name: _Name
    generation: _Count
    root_provider_uuid: _Uuid
    parent_provider_uuid: _Uuid | None = None


class Consumer(msgspec.Struct, frozen=True):
    """What one instance, or a migration that is open, was promised."""

    resources: Resources

    @property
    def disk_gb(self) -> int:
        """In GiB; 0 where nothing was promised."""
        return self.resources.get(DISK_GB, 0)


class Allocations(msgspec.Struct, frozen=True):
    """What a provider promised, by the consumer's UUID, at this generation."""

    generation: _Count = msgspec.field(name="resource_provider_generation")
    consumers: dict[_Uuid, Consumer] = msgspec.field(name="allocations")


class _Providers(msgspec.Struct):
    resource_providers: list[Provider]


class _Usages(msgspec.Struct):
    usages: Resources


class Placement:
    """Placement's API as an operator sees it."""

    def __init__(self, connection: openstack.connection.Connection) -> None:
        self._connection = connection

    def providers(self) -> list[Provider]:
        """All of them. There are no pages in Placement's API.

        :raises CloudError:
        """
        found = self._get("/resource_providers", _Providers).resource_providers
        if len(found) > _MAX_PROVIDERS:
            raise CloudError(f"Placement tells of more than {_MAX_PROVIDERS} providers")
        return found

    def allocations(self, provider_uuid: str) -> Allocations | None:
        """What a provider promised; None if it is not there any more.

        :raises CloudError:
        """
        try:
            found = self._get(f"/resource_providers/{provider_uuid}/allocations", Allocations)
        except answer.Refused as error:
            if error.status == 404:
                return None
            raise
        if len(found.consumers) > _MAX_CONSUMERS:
            raise CloudError(f"Placement tells of more than {_MAX_CONSUMERS} allocations at once")
        return found

    def claimed_disk_gb(self, project_id: str) -> int:
        """What all of a project's instances were promised, in GiB; 0 for a project it never met.

        A server that is being resized or moved counts on both hosts until that is confirmed.

        :raises CloudError:
        """
        found = self._get("/usages", _Usages, project_id=project_id)
        return found.usages.get(DISK_GB, 0)

    def _get(self, path: str, type: type[_T], **params: str) -> _T:
        return answer.ask(
            self._connection,
            "placement",
            "GET",
            path,
            type,
            params=params,
            microversion=_MICROVERSION,
        )

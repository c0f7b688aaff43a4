# SPDX-License-Identifier: Apache-2.0
"""Who is past a limit by what can be believed; the service's answers are played here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nova_diskaudit import limits
from nova_diskaudit.scheduler import projects
from nova_diskaudit.scheduler.snapshot import Ages
from tests.unit.scheduler.test_snapshot import NOON, at

GIB = 2**30
IMPLAUSIBLE = {"code": "host-claim-implausible"}


def usage(
    project_id: str = "p", *, name: str = limits.HOST_ALLOCATED, **changes: Any
) -> SimpleNamespace:
    limit = {
        "name": name,
        "limit_gib": 10,
        "used_bytes": 11 * GIB,
        "enforced": False,
        "meaning": "",
    }
    limit |= {"as_of": None} | changes
    stamp = NOON.isoformat()
    return SimpleNamespace(project_id=project_id, computed_at=stamp, limits=[limit])


def instance(gib: int, host: str = "good", *findings: dict[str, str]) -> SimpleNamespace:
    totals = {"host_allocated_bytes": gib * GIB, "disks": 1}
    return SimpleNamespace(host=host, totals=totals, findings=list(findings))


class Service:
    """Usages, and the instances of the one project that is asked about."""

    def __init__(self, usages: list[Any], instances: list[Any]) -> None:
        self._usages, self._instances = usages, instances
        self.asked: list[dict[str, Any]] = []

    def usages(self, **query: Any) -> list[Any]:
        return self._usages

    def instances(self, **query: Any) -> Any:
        self.asked.append(query)
        return iter(self._instances)


def past(service: Service, implausible: frozenset[str] = frozenset()) -> dict[str, float]:
    return dict(projects.past_limit(service, implausible, Ages(), at(30)))  # type: ignore[arg-type]


def test_a_project_that_really_holds_more_is_past_its_limit() -> None:
    service = Service([usage()], [instance(6), instance(6)])
    assert past(service) == {"p": at(0).monotonic}
    (asked,) = service.asked
    # Only what Nova confirms can be held against somebody.
    assert (asked["project_id"], asked["trust"]) == ("p", "verified")


@pytest.mark.parametrize(
    "told",
    [
        usage(used_bytes=10 * GIB),
        usage(limit_gib=None),
        usage(used_bytes=None),
        # What guests say, and what Nova promised.
        usage(name="disk_guest_used_gib"),
        usage(name="class:DISK_GB"),
        SimpleNamespace(project_id="p", computed_at=NOON.isoformat(), limits=[]),
        SimpleNamespace(project_id="p", computed_at="once", limits=usage().limits),
    ],
)
def test_others_are_not_even_looked_at(told: Any) -> None:
    service = Service([told], [instance(100)])
    assert past(service) == {}
    assert service.asked == []


def test_no_host_that_lies_stops_a_project() -> None:
    lies = [instance(1000, "bad"), instance(1000, "good", IMPLAUSIBLE), instance(9)]
    assert past(Service([usage()], lies), frozenset({"bad"})) == {}
    assert past(Service([usage()], [*lies, instance(2)]), frozenset({"bad"})) == {
        "p": at(0).monotonic
    }


def test_exactly_the_limit_is_within_it() -> None:
    assert past(Service([usage()], [instance(10)])) == {}
    assert past(Service([usage(limit_gib=0)], [instance(0)])) == {}


def test_an_instance_of_another_form_counts_nothing() -> None:
    odd = SimpleNamespace(host="good", totals={"host_allocated_bytes": "all"}, findings=[])
    assert past(Service([usage()], [odd, instance(9)])) == {}

# SPDX-License-Identifier: Apache-2.0
"""Random clouds, round after round: what is found is what a plain definition says, each time.

In each round something changes, every host reports, and Nova and Placement are asked after that; so
all is known, and what was found in the round before has to be gone if it is not so any more.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import reports
from tests.unit.reconcile.rig import Rig, local
from tests.unit.store.conftest import empty

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
HOSTS = ("a", "b", "c")
NAMES = ("one", "two", "three", "four")
STATUSES = ("ACTIVE", "SHUTOFF", "VERIFY_RESIZE", "MIGRATING", "SHELVED_OFFLOADED", "ERROR")


@dataclasses.dataclass
class Named:
    """Nova's word."""

    host: str | None
    status: str
    task: str | None
    other: str | None
    root: int
    deleted: bool = False

    @property
    def is_open(self) -> bool:
        return (
            self.task is not None
            or self.other is not None
            or self.status in ("VERIFY_RESIZE", "MIGRATING")
        )

    @property
    def has_domain(self) -> bool:
        return self.status in ("ACTIVE", "SHUTOFF", "VERIFY_RESIZE")


@dataclasses.dataclass
class World:
    """All words, as they are now."""

    nova: dict[str, Named] = dataclasses.field(default_factory=dict)
    #: by host and name: GiB of its disk
    domains: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    claims: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)

    def expected(self, before: set[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
        found = {(host, name, code) for host, name in self.domains for code in self.of(host, name)}
        found |= {one for one in before if one[2] in self.unknown(*one[:2])}
        for name, named in self.nova.items():
            alive = not named.deleted and named.has_domain and not named.is_open
            if alive and named.host is not None and (named.host, name) not in self.domains:
                found.add((named.host, name, "instance-without-domain"))
        return found

    def of(self, host: str, name: str) -> set[str]:
        named = self.nova.get(name)
        if named is None or named.deleted:
            return {"instance-not-in-nova"}
        elsewhere = {h for h, n in self.domains if n == name and h != host}
        homes = {named.host, named.other}
        codes = set()
        if host in homes:
            if not named.is_open and elsewhere - homes:
                codes.add("instance-on-two-hosts")
        elif not named.is_open:
            codes.add("instance-on-two-hosts" if elsewhere else "instance-elsewhere")
        if host == named.host and named.task is None and named.has_domain:
            codes |= self.of_claim(name, named, self.domains[host, name])
        return codes

    def unknown(self, host: str, name: str) -> set[str]:
        named = self.nova.get(name)
        if (host, name) not in self.domains or named is None or named.deleted:
            return set()
        codes = set()
        homes = {named.host, named.other}
        if named.is_open and host not in homes:
            codes |= {"instance-not-in-nova", "instance-elsewhere", "instance-on-two-hosts"}
        elif named.is_open and any(n == name and h not in homes for h, n in self.domains):
            codes.add("instance-on-two-hosts")
        if host == named.host and (named.task is not None or not named.has_domain):
            codes |= {"claim-explained", "claim-mismatch"}
        return codes

    def of_claim(self, name: str, named: Named, made: int) -> set[str]:
        claims = [gib for (_, n), gib in self.claims.items() if n == name and gib]
        if sum(claims) == made and len(claims) <= 1:
            return set()
        if named.is_open or (len(claims) <= 1 and named.root == 0 and not claims):
            return {"claim-explained"}
        return {"claim-mismatch"}


host = st.sampled_from(HOSTS)
name = st.sampled_from(NAMES)
gib = st.sampled_from((10, 20, 40))
change = st.one_of(
    st.tuples(
        st.just("nova"),
        name,
        st.builds(
            Named,
            host=st.none() | host,
            status=st.sampled_from(STATUSES),
            task=st.sampled_from((None, None, None, "resize_prep")),
            other=st.sampled_from((None, None, None, *HOSTS)),
            root=st.sampled_from((0, 20)),
            deleted=st.sampled_from((False, False, False, True)),
        ),
    ),
    st.tuples(st.just("domain"), name, host, gib),
    st.tuples(st.just("undefined"), name, host),
    st.tuples(st.just("claim"), name, host, st.sampled_from((0, 10, 20, 40))),
)


def apply(rig: Rig, world: World, one: tuple[Any, ...]) -> None:
    what, about, *rest = one
    if what == "nova":
        (named,) = rest
        world.nova[about] = named
        rig.nova(
            about,
            named.host,
            status=named.status,
            task_state=named.task,
            other_host=named.other,
            root_gb=named.root,
        )
        if named.deleted:
            rig.deletes(about)
    elif what == "domain":
        world.domains[rest[0], about] = rest[1]
    elif what == "undefined":
        world.domains.pop((rest[0], about), None)
    else:
        world.claims[rest[0], about] = rest[1]
        rig.claims(rest[0], **{about: rest[1]})


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rounds=st.lists(st.lists(change, min_size=1, max_size=8), min_size=1, max_size=4))
def test_random_clouds(engine: sa.Engine, rounds: list[list[tuple[Any, ...]]]) -> None:
    empty(engine)
    rig, world = Rig(engine), World()
    said: set[tuple[str, str, str]] = set()
    for changes in rounds:
        for one in changes:
            apply(rig, world, one)
        rig.later()
        for where in HOSTS:
            here = {n: made for (h, n), made in world.domains.items() if h == where}
            rig.sees(where, *here, **{n: {"disks": local(n, made)} for n, made in here.items()})
        rig.settle()
        said = world.expected(said)
        assert set(rig.found()) == {(h, reports.uuid_of(n), code) for h, n, code in said}

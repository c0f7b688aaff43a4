# SPDX-License-Identifier: Apache-2.0
"""Random lives of a cloud: who is believed, whatever happens in whatever order.

The model knows the truth (where each instance is, what moves, what was left behind by an
evacuation) and what Nova was last heard to say, for the two differ most of the time. One host lies.
The service is held to what it promises, not to how it finds it out.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from nova_diskaudit.store import instance as store
from nova_diskaudit.store import moment, scope
from tests import reports
from tests.unit.store.conftest import empty
from tests.unit.store.test_instance import EVERYTHING, Cloud, minutes, trust_of

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))
HONEST = ("a", "b", "c")
LIAR = "liar"
PROJECTS = ("red", "blue")
NAMES = tuple(f"instance-{number}" for number in range(5))
UUIDS = {reports.uuid_of(name): name for name in NAMES}

honest = st.sampled_from(HONEST)
a_name = st.sampled_from(NAMES)


@dataclasses.dataclass
class Truth:
    """One instance, as it is."""

    project: str
    host: str
    #: the other end of a migration or resize that is open
    other_host: str | None = None
    moved: int = 0
    is_deleted: bool = False
    #: where an evacuation left its disks
    leftovers: set[str] = dataclasses.field(default_factory=set)

    def is_on(self, host: str) -> bool:
        if host in self.leftovers:
            return True
        return not self.is_deleted and host in (self.host, self.other_host)


class Life(RuleBasedStateMachine):
    engine: sa.Engine

    def __init__(self) -> None:
        super().__init__()
        empty(self.engine)
        self.cloud = Cloud(self.engine)
        self.minute = 0
        self.truth: dict[str, Truth] = {}
        #: what Nova was heard to say: project, host, other host; None of what was deleted
        self.heard: dict[str, tuple[str, str, str | None] | None] = {}

    def _later(self) -> int:
        self.minute += 1
        return self.minute

    def _alive(self, name: str) -> Truth | None:
        truth = self.truth.get(name)
        return None if truth is None or truth.is_deleted else truth

    # --- what happens in the cloud ---

    @rule(name=a_name, project=st.sampled_from(PROJECTS), host=honest)
    def create(self, name: str, project: str, host: str) -> None:
        if name not in self.truth:
            self.truth[name] = Truth(project=project, host=host, moved=self._later())

    @rule(name=a_name, host=honest)
    def begin_to_move(self, name: str, host: str) -> None:
        truth = self._alive(name)
        if truth and truth.other_host is None and host != truth.host:
            truth.other_host = host
            truth.leftovers.discard(host)
            self._later()

    @rule(name=a_name, succeeds=st.booleans())
    def end_the_move(self, name: str, succeeds: bool) -> None:
        truth = self._alive(name)
        if truth and truth.other_host is not None:
            if succeeds:
                truth.host, truth.moved = truth.other_host, self._later()
            truth.other_host = None

    @rule(name=a_name, host=honest)
    def evacuate(self, name: str, host: str) -> None:
        truth = self._alive(name)
        if truth and truth.other_host is None and host != truth.host:
            truth.leftovers.add(truth.host)
            truth.leftovers.discard(host)
            truth.host, truth.moved = host, self._later()

    @rule(name=a_name, leaves=st.booleans())
    def delete(self, name: str, leaves: bool) -> None:
        truth = self._alive(name)
        if truth:
            if leaves:
                truth.leftovers.add(truth.host)
            truth.is_deleted, truth.other_host = True, None
            truth.moved = self._later()

    # --- what is heard of it ---

    @rule(host=honest)
    def report(self, host: str) -> None:
        names = [name for name, truth in self.truth.items() if truth.is_on(host)]
        self.cloud.sees(host, *names, minute=self._later())

    @rule(names=st.sets(a_name), project=st.sampled_from(PROJECTS))
    def lie(self, names: set[str], project: str) -> None:
        """Of a host that Nova never names: any instance, said to be anybody's."""
        self.cloud.sees(LIAR, *sorted(names), minute=self._later(), project_id=project)

    @rule(names=st.sets(a_name))
    def hear_some_of_nova(self, names: set[str]) -> None:
        """A cell is down, or the service was killed on the way."""
        self._hear(names)

    @rule()
    def hear_all_of_nova(self) -> None:
        begun = self._later()
        self._hear(set(NAMES))
        self.cloud.complete(begun)

    def _hear(self, names: set[str]) -> None:
        at = self._later()
        for name in names & set(self.truth):
            truth = self.truth[name]
            words: dict[str, Any] = {
                "project_id": truth.project,
                "host": truth.host,
                "other_host": truth.other_host,
                "seen_at": moment.of(minutes(at)),
                "moved_at": moment.of(minutes(truth.moved)),
            }
            if truth.is_deleted:
                words["deleted_at"] = moment.of(minutes(at))
            self.cloud.nova(name, **words)
            self.heard[name] = (
                None if truth.is_deleted else (truth.project, truth.host, truth.other_host)
            )

    # --- what is promised ---

    def _listed(self, who: scope.Scope) -> list[store.Believed]:
        page = store.Page(limit=100)
        found, more = store.listed(self.engine, who, store.Filters(), page, nova=True)
        assert not more
        return found

    @invariant()
    def an_instance_is_listed_once(self) -> None:
        uuids = [one.uuid for one in self._listed(EVERYTHING)]
        assert uuids == sorted(set(uuids))

    @invariant()
    def a_tenant_sees_what_nova_says_and_nothing_else(self) -> None:
        for project in PROJECTS:
            for one in self._listed(scope.OfProject(project)):
                heard = self.heard.get(UUIDS[one.uuid])
                assert heard is not None, "of what Nova never named, or has deleted"
                owner, host, other_host = heard
                assert owner == one.project_id == project
                assert one.host in (host, other_host), "by the word of another host"
                assert one.host != LIAR
                assert trust_of(one.rank) == "verified"

    @rule()
    def settle(self) -> None:
        """Everybody is heard, and nothing moves meanwhile: now it must be the truth."""
        for host in HONEST:
            self.report(host)
        self.hear_all_of_nova()
        for host in HONEST:
            self.report(host)
        self.hear_all_of_nova()
        believed = {UUIDS[one.uuid]: one for one in self._listed(EVERYTHING)}
        for name, truth in self.truth.items():
            if truth.is_deleted:
                # The liar may have been silent since: then it is not known what it would say.
                if name in believed and believed[name].host != LIAR:
                    assert trust_of(believed[name].rank) == "unverified"
                continue
            one = believed[name]
            assert (one.host, trust_of(one.rank)) == (truth.host, "verified")
            assert one.project_id == truth.project
            others = self.cloud.others(name)
            moving = {truth.other_host} - {None}
            assert {host for host, word in others.items() if word == "verified"} == moving
            assert {host for host in others if host in truth.leftovers} == truth.leftovers
        tenants = {
            project: {UUIDS[one.uuid] for one in self._listed(scope.OfProject(project))}
            for project in PROJECTS
        }
        for project in PROJECTS:
            own = {n for n, t in self.truth.items() if t.project == project and not t.is_deleted}
            assert tenants[project] == own


def test_any_life_of_a_cloud(engine: sa.Engine) -> None:
    class Bound(Life):
        pass

    Bound.engine = engine
    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=True,
            # A life of forty steps takes minutes to shrink.
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )

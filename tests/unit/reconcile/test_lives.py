# SPDX-License-Identifier: Apache-2.0
"""Random lives of a cloud: what is found is what a plain definition says, pass after pass.

The definition below knows nothing of tables. It remembers who said what and when, and asks of every
host, name and code whether that is so: yes, no, or nobody knows; then it is as it was.
"""

from __future__ import annotations

import datetime
import math
import os
from typing import Any, NamedTuple

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nova_diskaudit import record
from nova_diskaudit.store import tables
from tests import reports
from tests.unit.reconcile.stage import GIB, STALE_SECONDS, Stage, disk

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
HOSTS = ("a", "b", "c")
NAMES = ("one", "two", "three")
STATUSES = ("ACTIVE", "SHUTOFF", "VERIFY_RESIZE", "ERROR", "RESCUE", "BUILD", "SHELVED_OFFLOADED")
#: Hosts b and c may share a storage.
SHARED = "nfs:filer:/instances"
MINUTE = datetime.timedelta(minutes=1)

Key = tuple[str, str, str]


# --- what was said --------------------------------------------------------------------------------


class Word(NamedTuple):
    """Nova's last word about an instance."""

    host: str | None
    other: str | None
    status: str
    task: str | None
    root: int
    deleted: bool
    said: datetime.datetime
    moved: datetime.datetime


class Report(NamedTuple):
    """A host's last report."""

    seen: datetime.datetime
    received: datetime.datetime
    sizes: dict[str, int | None]
    hints: dict[str, bool]
    #: names of leftovers, with bytes; None: there is no such storage
    files: dict[str, int] | None
    storage: str
    is_whole: bool
    codes: tuple[str, ...]


class Memory:
    """Who said what, and what was found by it."""

    def __init__(self) -> None:
        self.now = reports.NOW
        self.words: dict[str, Word] = {}
        self.nova_heard: datetime.datetime | None = None
        self.promises: dict[str, tuple[datetime.datetime, dict[str, int]]] = {}
        self.placement_heard: datetime.datetime | None = None
        self.placement_answers = True
        self.reports: dict[str, Report] = {}
        self.found: set[Key] = set()

    # --- yes, no, or nobody knows -----------------------------------------------------------------

    def fresh(self, host: str) -> bool:
        age = self.now - self.reports[host].received
        return age <= datetime.timedelta(seconds=STALE_SECONDS)

    def counts(self, host: str) -> bool:
        """Whether what the host tells can be held against Nova."""
        one = self.reports[host]
        return (
            self.fresh(host)
            and not one.codes
            and self.nova_heard is not None
            and one.received <= self.nova_heard
        )

    def after(self, host: str, time: datetime.datetime) -> bool:
        return self.reports[host].seen - MINUTE > time

    def busy(self, name: str) -> bool:
        word = self.words[name]
        return bool(word.other or word.task) or word.status in ("VERIFY_RESIZE", "RESIZE")

    def alive(self, name: str) -> bool:
        return name in self.words and not self.words[name].deleted

    def where(self, name: str, host: str) -> str:
        """Of a domain on a host, for an instance that is alive: right, wrong, or "?"."""
        word = self.words[name]
        if not self.fresh(host) or self.reports[host].codes:
            return "?"
        if host in (word.host, word.other):
            return "right"
        if self.busy(name) or not self.counts(host) or not self.after(host, word.moved):
            return "?"
        return "wrong"

    def places(self, name: str) -> dict[str, str]:
        return {
            host: self.where(name, host)
            for host, report in self.reports.items()
            if name in report.sizes
        }

    def is_so(self, host: str, name: str, code: str) -> bool | None:
        if code == "stale":
            return not self.fresh(host) and (not name or name in self.reports[host].sizes)
        if code in ("orphan-disk-file", "resize-leftover"):
            return self.file(host, name, code)
        if not name:
            return False
        if code == "instance-without-domain":
            return self.missing(host, name)
        if name not in self.reports[host].sizes:
            return False
        if code.startswith("instance-"):
            return self.misplaced(host, name, code)
        return self.miscounted(host, name, code)

    def missing(self, host: str, name: str) -> bool | None:
        if not self.alive(name) or self.words[name].host != host:
            return False
        if name in self.reports[host].sizes or self.busy(name):
            return False
        if self.words[name].status not in ("ACTIVE", "SHUTOFF", "RESCUE"):
            return False
        known = self.counts(host) and self.after(host, self.words[name].said)
        return True if known else None

    def misplaced(self, host: str, name: str, code: str) -> bool | None:
        if not self.alive(name):
            if code != "instance-not-in-nova" or not self.reports[host].hints[name]:
                return False
            if not self.counts(host):
                return None
            if name in self.words and not self.after(host, self.words[name].moved):
                return None
            return True
        places = self.places(name)
        here = places.pop(host)
        there = set(places.values())
        if here == "?":
            return None
        if code == "instance-not-in-nova":
            return False
        known = there - {"?"}
        if here == "right":
            if code == "instance-elsewhere":
                return False
            return True if "wrong" in there else None if "?" in there else False
        if known:
            return code == "instance-on-two-hosts"
        if "?" in there:
            return None
        return code == "instance-elsewhere"

    def miscounted(self, host: str, name: str, code: str) -> bool | None:
        if not self.alive(name) or self.words[name].host != host:
            return False
        word, size = self.words[name], self.reports[host].sizes[name]
        if word.task or word.status not in ("ACTIVE", "SHUTOFF", "VERIFY_RESIZE"):
            return None
        if size is None or not self.counts(host) or not self.after(host, word.said):
            return None
        asked, nova = self.placement_heard, self.nova_heard
        if not self.placement_answers or asked is None or nova is None:
            return None
        if not word.said <= asked <= nova:
            return None
        claims = {
            provider: promised[name]
            for provider, (_, promised) in self.promises.items()
            if name in promised
        }
        if sum(claims.values()) == math.ceil(size / GIB) and len(claims) < 2:
            return False
        told = [self.promises[provider][0] for provider in claims]
        if any(not word.said <= time <= nova for time in told):
            return None
        # All disks are local roots here, so of the rules that explain only two can apply.
        explained = self.busy(name) or (
            len(claims) < 2 and word.root == 0 and sum(claims.values()) == 0
        )
        return (code == "claim-explained") == explained

    def sharing(self, host: str) -> set[str]:
        storage = self.reports[host].storage
        return {
            other
            for other, report in self.reports.items()
            if report.files is not None and report.storage == storage
        } | {host}

    def teller(self, host: str) -> str | None:
        """Whose report tells what lies on the storage of a host: the first that is fresh."""
        sharing = sorted(self.sharing(host), key=list(self.reports).index)
        if len(sharing) == 1:
            return host
        return next((one for one in sharing if self.fresh(one)), None)

    def file(self, host: str, name: str, code: str) -> bool | None:
        report = self.reports[host]
        teller = self.teller(host) if report.files is not None else None
        if teller is None:
            return None
        if teller != host:
            return False
        whole = self.fresh(host) and report.is_whole
        assert report.files is not None
        if not name:
            if code != "orphan-disk-file":
                return False if whole else None
            if not self.fresh(host):
                return None
            return "stranger" in report.files or (False if whole else None)
        files = [file for file in report.files if file.split("_")[0] == reports.uuid_of(name)]
        if not files:
            return False if whole else None
        if not self.counts(host):
            return None
        resized = [file for file in files if file.endswith("_resize")]
        if self.alive(name):
            word = self.words[name]
            if self.busy(name) or word.status == "BUILD":
                return False
            if not self.after(host, word.said):
                return None
            if code == "resize-leftover":
                return bool(resized)
            if len(resized) == len(files):
                return False
            if word.host is None:
                return word.status == "SHELVED_OFFLOADED"
            if word.host in self.sharing(host):
                return False
            return True if word.host in self.reports else None
        if name in self.words and not self.after(host, self.words[name].moved):
            return None
        sighted = {other for other, one in self.reports.items() if name in one.sizes}
        return code == "orphan-disk-file" and not sighted & self.sharing(host)

    def expected(self) -> set[Key]:
        codes = (
            "stale",
            "instance-without-domain",
            "instance-not-in-nova",
            "instance-elsewhere",
            "instance-on-two-hosts",
            "orphan-disk-file",
            "resize-leftover",
            "claim-mismatch",
            "claim-explained",
        )
        found = set()
        for host in self.reports:
            for name in ("", *NAMES):
                for code in codes:
                    key = (host, name, code)
                    so = self.is_so(*key)
                    if so or (so is None and key in self.found):
                        found.add(key)
        return found


# --- how they live --------------------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """Everybody says what comes to mind, in any order."""

    engine: sa.Engine

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(self.engine)
        self.memory = Memory()
        for name in NAMES:
            self.stage.uuid(name)
        with self.engine.begin() as connection:
            for table in tables.metadata.sorted_tables:
                connection.execute(sa.delete(table))

    def pass_time(self, seconds: float) -> None:
        self.stage.now += datetime.timedelta(seconds=seconds)
        self.memory.now = self.stage.now

    @initialize()
    def everybody_agrees(self) -> None:
        """A cloud without surprises, so that most of what follows is one."""
        for host, name in zip(HOSTS, NAMES, strict=True):
            self.says(name, host, "ACTIVE", None, 20, False)
        for host, name in zip(HOSTS, NAMES, strict=True):
            self.promise(host, {name: 20})
            self.report(host, {name: 20.0}, set(), "local", True, "", True, 0)

    @rule(seconds=st.sampled_from([5, 30, 61, 300, 600, 3000, 3700]))
    def time_passes(self, seconds: int) -> None:
        self.pass_time(seconds)

    @rule(
        name=st.sampled_from(NAMES),
        host=st.sampled_from([*HOSTS, None, "silent"]),
        status=st.sampled_from([*STATUSES, *["ACTIVE"] * 6]),
        task=st.sampled_from([None, None, None, "rebuilding"]),
        root=st.sampled_from([0, 20, 20, 40]),
        deleted=st.sampled_from([False, False, False, True]),
    )
    def says(
        self,
        name: str,
        host: str | None,
        status: str,
        task: str | None,
        root: int,
        deleted: bool,
    ) -> None:
        """Nova changes its mind about an instance, and is heard."""
        self.pass_time(1)
        self.stage.nova(name, host, status=status, task_state=task, root_gb=root, deleted=deleted)
        before, now = self.memory.words.get(name), self.memory.now
        moved = before is None or before.host != host or before.deleted != deleted
        self.memory.words[name] = Word(
            host,
            before.other if before else None,
            status,
            task,
            root,
            deleted,
            now,
            now if moved or before is None else before.moved,
        )

    @rule(name=st.sampled_from(NAMES), other=st.sampled_from([*HOSTS, None]))
    def moves(self, name: str, other: str | None) -> None:
        """A migration of one instance is open, and no other one."""
        self.pass_time(1)
        word = self.memory.words.get(name)
        is_open = other is not None and word is not None and word.host is not None
        ends = {name: (str(word.host), str(other))} if is_open and word else {}
        self.stage.moves(**ends)
        for one, known in self.memory.words.items():
            its = other if is_open and one == name and other != known.host else None
            self.memory.words[one] = known._replace(other=its)

    @rule()
    def nova_is_heard(self) -> None:
        self.pass_time(1)
        self.stage.nova_answered()
        self.memory.nova_heard = self.memory.now

    @rule(
        provider=st.sampled_from(HOSTS),
        gb=st.dictionaries(st.sampled_from(NAMES), st.sampled_from([20, 20, 40]), max_size=3),
    )
    def promise(self, provider: str, gb: dict[str, int]) -> None:
        self.pass_time(1)
        self.stage.promised(provider, **gb)
        self.memory.promises[provider] = (self.memory.now, gb)

    @rule(answers=st.sampled_from([True, True, True, False]))
    def placement_is_heard(self, answers: bool) -> None:
        self.pass_time(1)
        self.stage.placement_answers = self.memory.placement_answers = answers
        if answers:
            self.stage.placement_answered()
            self.memory.placement_heard = self.memory.now

    @rule(
        host=st.sampled_from(HOSTS),
        gib=st.dictionaries(
            st.sampled_from(NAMES), st.sampled_from([20.0, 20.0, 19.5, 40.0, None]), max_size=3
        ),
        foreign=st.sets(st.sampled_from(NAMES), max_size=1),
        files=st.sampled_from(["local", "local", "shared", "none"]),
        is_whole=st.sampled_from([True, True, True, False]),
        suffix=st.sampled_from(["", "", "_resize"]),
        strangers=st.booleans(),
        late=st.sampled_from([0, 0, 0, 40, 400]),
    )
    def report(
        self,
        host: str,
        gib: dict[str, float | None],
        foreign: set[str],
        files: str,
        is_whole: bool,
        suffix: str,
        strangers: bool,
        late: int,
    ) -> None:
        """A host tells of these instances; of the files of every second other one as left over."""
        self.pass_time(1)
        now = self.memory.now
        left = {reports.uuid_of(name) + suffix: GIB for name in NAMES[::2] if name not in gib}
        if strangers and host == "a":
            left["stranger"] = 1
        shares = files == "shared" and host != "a"
        identity = SHARED if shares else f"fsid:{host}"
        findings = () if is_whole else (reports.instance("x").disks[0].findings[0],)
        codes = ("inventory-stale",) if late == 40 else ()
        seen = now - datetime.timedelta(seconds=late)
        storage = reports.storage(
            identity=identity,
            findings=findings,
            leftovers=tuple(
                record.Leftover(name=name, host_allocated_bytes=number)
                for name, number in left.items()
            ),
        )
        changes: dict[str, Any] = {}
        if foreign:
            changes["project_id"] = None
        self.stage.reports(
            host,
            *gib,
            disks={
                name: [disk("vda", size)]
                if size is not None
                else [disk("vda", 1, virtual_bytes=None)]
                for name, size in gib.items()
            },
            changes=changes,
            storages=() if files == "none" else (storage,),
            codes=codes,
            as_of=seen,
        )
        before = self.memory.reports.get(host)
        if before:
            gone = before.sizes.keys() - gib.keys()
            self.memory.found = {
                key for key in self.memory.found if key[0] != host or key[1] not in gone
            }
        self.memory.reports[host] = Report(
            seen,
            now,
            {name: None if size is None else int(size * GIB) for name, size in gib.items()},
            {name: not foreign for name in gib},
            None if files == "none" else left,
            identity,
            is_whole,
            codes,
        )

    @rule()
    def everybody_is_heard(self) -> None:
        """Time enough for all to say the same as before once more, so that they can be judged."""
        self.pass_time(600)
        for host, report in list(self.memory.reports.items()):
            self.memory.reports[host] = report._replace(
                seen=self.memory.now, received=self.memory.now
            )
        self.stage.settle(0)
        self.memory.now = self.stage.now
        heard = self.stage.now - MINUTE
        self.memory.nova_heard = self.memory.placement_heard = heard

    @invariant()
    def what_is_found(self) -> None:
        before = self.stage.findings(compared=False)
        expected = self.memory.expected()
        self.stage.run()
        found = self.stage.findings()
        assert found.keys() == expected
        for key in found.keys() & before.keys():
            assert found[key].since == before[key].since
        again = self.stage.run()
        assert (again.appeared, again.renewed, again.cleared) == (0, 0, 0)
        assert self.stage.findings() == found
        self.memory.found = expected


def lead(engine: sa.Engine, examples: int) -> None:
    """So many lives, on this database."""
    Life.engine = engine
    Life.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    Life.TestCase().runTest()


def test_lives(engine: sa.Engine) -> None:
    lead(engine, EXAMPLES)

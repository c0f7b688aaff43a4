# SPDX-License-Identifier: Apache-2.0
"""The hang and chaos harness in small: a crowd of which parts hang, lie and are killed.

What a benchmark prints is asserted here as far as it does not speak of time; see
``tests/bench/harness.py`` and ``tests/bench/chaos.py`` for the whole of it.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests.bench import chaos, freshness, hostile
from tests.bench.crowd import Crowd, Size, crowd
from tests.bench.figures import Figure, table
from tests.bench.subject import Agent
from tests.bench.workers import Watch
from tests.lab.hypervisor import Hypervisor

_SIZE = Size(domains=12, stopped=2, hung=3, healthy=1)
_EACH_TIME = {"agent": {"interval": 2, "full_cycles": 1}}


@pytest.fixture(scope="module")
def host() -> Iterator[Crowd]:
    with Hypervisor("host") as hypervisor, crowd(hypervisor, _SIZE, hostile.FILES) as some:
        yield some


@pytest.fixture
def agent(host: Crowd, tmp_path: pathlib.Path) -> Agent:
    return Agent(host.hypervisor.uri, tmp_path, _EACH_TIME)


def hold(figures: list[Figure]) -> None:
    judged = [figure for figure in figures if figure.holds is not None and not figure.of_time]
    assert judged
    assert all(figure.holds for figure in judged), f"\n{table(figures)}"


def test_nobody_suffers_from_those_that_hang(host: Crowd, agent: Agent) -> None:
    with Watch(host.hypervisor.admin_uri) as watch:
        hold(freshness.measure(host, agent, watch, cycles=2, kills=3, seed=1))
    host.continue_hypervisors()
    host.recover()


def test_nobody_suffers_from_those_that_misbehave(host: Crowd, agent: Agent) -> None:
    ways = [way for way in hostile.WAYS if way.name in ("huge", "garbage", "storm")]
    with Watch(host.hypervisor.admin_uri) as watch:
        hold(hostile.measure(host, agent, watch, cycles=3, ways=ways))


def test_nothing_is_lost_when_everything_is_killed(host: Crowd, tmp_path: pathlib.Path) -> None:
    hold(chaos.measure(host, tmp_path, rounds=8, outages=0, seed=3))

# SPDX-License-Identifier: Apache-2.0
"""One stage for all the lab's tests; see play.py."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab import play
from tests.lab.hypervisor import STACKS
from tests.lab.observe import Observation

Observe = Callable[[play.Play, str], Observation]

_STAGE = pytest.StashKey[play.Stage]()
_SEEN = pytest.StashKey[list[Observation]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lab")
    group.addoption("--stack", choices=STACKS, help="only this stack")
    group.addoption("--save-replies", metavar="DIR", help="write the raw facts of each scenario")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stack" in metafunc.fixturenames:
        only = metafunc.config.getoption("--stack")
        metafunc.parametrize("stack", [only] if only else STACKS, scope="session")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Plan the plays of the chosen tests, in their order."""
    stage = play.Stage()
    session.config.stash[_STAGE] = stage
    if session.config.getoption("--collect-only"):
        return
    for item in session.items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        wanted = getattr(parameters.get("scenario"), "play", None)
        if wanted is not None:
            stage.plan(parameters["stack"], wanted)


def pytest_sessionfinish(session: pytest.Session) -> None:
    stage = session.config.stash.get(_STAGE, None)
    if stage is not None:
        stage.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    stage = terminalreporter.config.stash.get(_STAGE, None)
    if stage is not None and stage.timings:
        terminalreporter.section("lab plays, in seconds: boot, play")
        for (stack, name), (boot, perform) in stage.timings.items():
            terminalreporter.write_line(f"{stack:8} {name:18} {boot:6.1f} {perform:6.1f}")


@pytest.fixture
def observe(request: pytest.FixtureRequest, stack: str) -> Iterator[Observe]:
    """The observation of a play by its label."""
    seen: list[Observation] = []
    request.node.stash[_SEEN] = seen

    def get(wanted: play.Play, label: str) -> Observation:
        found = request.config.stash[_STAGE].observations(stack, wanted)[label]
        seen.append(found)
        directory = request.config.getoption("--save-replies")
        if directory and found.replies and stack == "host":
            name = f"{found.domain}-{found.label}.json"
            (pathlib.Path(directory) / name).write_text(found.saved())
        return found

    yield get


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Show what was observed where a test failed, and keep the guest's console."""
    report = yield
    if report.failed:
        for seen in item.stash.get(_SEEN, []):
            kept = play.copy_console(seen.console, f"{seen.stack}-{seen.domain}.console")
            report.sections.append(("observed", f"{seen.describe()}\n  kept: {kept}"))
    return report

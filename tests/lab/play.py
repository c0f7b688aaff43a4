# SPDX-License-Identifier: Apache-2.0
"""Plays: what happens to one domain from its start to its end, and the stage they run on.

At most two plays run at a time, in the background and in the order in which the tests will ask
for them. A test waits for the play that it needs.
"""

import concurrent.futures
import contextlib
import dataclasses
import pathlib
import shutil
import threading
import time
from collections.abc import Callable

from tests.lab import chroot, observe
from tests.lab.domain import Domain
from tests.lab.hypervisor import Hypervisor
from tests.lab.machine import Machine, boot

Observations = dict[str, observe.Observation]
Perform = Callable[[Machine], Observations]

AT_A_TIME = 2


@dataclasses.dataclass(frozen=True)
class Play:
    """A domain, and what is done to it; *perform* returns observations by their label."""

    domain: Domain
    perform: Perform

    @property
    def name(self) -> str:
        return self.domain.name


class Stage:
    """Runs plays on the private hypervisors."""

    def __init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(AT_A_TIME)
        self._futures: dict[tuple[str, str], concurrent.futures.Future[Observations]] = {}
        self._hypervisors: dict[str, Hypervisor] = {}
        self._lock = threading.Lock()
        #: seconds to boot and to perform, by stack and play
        self.timings: dict[tuple[str, str], tuple[float, float]] = {}

    def plan(self, stack: str, play: Play) -> None:
        """Run the play when its turn comes; a play that is planned twice runs once."""
        if (stack, play.name) not in self._futures:
            future = self._pool.submit(self._run, stack, play)
            self._futures[stack, play.name] = future

    def observations(self, stack: str, play: Play) -> Observations:
        """What was observed; raises what the play raised."""
        self.plan(stack, play)
        return self._futures[stack, play.name].result()

    def close(self) -> None:
        for future in self._futures.values():
            future.cancel()
        self._pool.shutdown()
        for hypervisor in self._hypervisors.values():
            hypervisor.stop()

    def _hypervisor(self, stack: str) -> Hypervisor:
        with self._lock:
            if stack not in self._hypervisors:
                hypervisor = Hypervisor(stack)
                hypervisor.start()
                self._hypervisors[stack] = hypervisor
            return self._hypervisors[stack]

    def _run(self, stack: str, play: Play) -> Observations:
        hypervisor = self._hypervisor(stack)
        machine: Machine | None = None
        began = time.monotonic()
        try:
            machine = boot(hypervisor, play.domain)
            booted = time.monotonic()
            found = play.perform(machine)
            self.timings[stack, play.name] = (booted - began, time.monotonic() - booted)
            return found
        except BaseException as error:
            error.add_note(f"{stack} {play.name}: console kept as {keep_console(hypervisor, play)}")
            raise
        finally:
            if machine is not None:
                machine.stop()


def keep_console(hypervisor: Hypervisor, play: Play) -> pathlib.Path:
    """A copy of the guest's console log that outlives the hypervisor."""
    source = hypervisor.workdir / f"{play.name}.console"
    return copy_console(source, f"{hypervisor.stack}-{play.name}.console")


def copy_console(source: pathlib.Path, name: str) -> pathlib.Path:
    kept = chroot.cache() / "failed" / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.copy(source, kept)
    return kept

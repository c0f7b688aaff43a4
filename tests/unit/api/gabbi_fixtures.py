# SPDX-License-Identifier: Apache-2.0
"""What the YAML files of ``gabbits/`` begin with."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from typing import Any

from gabbi import fixture

from nova_diskaudit import protocol
from nova_diskaudit.store import enrollment
from tests import reports
from tests.unit.api import service

_application: Any = None

RED, BLUE, NOBODYS = (reports.uuid_of(word) for word in ("red", "blue", "nobody"))


def application() -> Any:
    """The application of the fixture that is active, as a WSGI application."""

    def call(environ: dict[str, Any], start_response: Any) -> Any:
        return _application(environ, start_response)

    return call


class Empty(fixture.GabbiFixture):
    """Nobody has reported; compute-1 and compute-2 are enrolled."""

    def start_fixture(self) -> None:
        global _application
        self.directory = pathlib.Path(tempfile.mkdtemp())
        _, _application, self.database = service.made(self.directory)
        for name in ("compute-1", "compute-2"):
            enrollment.enroll(self.database, f"cred-{name}", name, at=0)
        state = reports.state(
            instances=(reports.instance(RED), reports.instance(BLUE), reports.instance(NOBODYS)),
            id=reports.uuid_of("first"),
        )
        next_one = reports.changed(state, id=reports.uuid_of("second"))
        os.environ["FIRST"], os.environ["SECOND"] = state.id, next_one.id
        os.environ["RED"], os.environ["BLUE"], os.environ["NOBODYS"] = RED, BLUE, NOBODYS
        os.environ["REPORT"] = protocol.encode(reports.full(state)).decode()
        os.environ["DELTA"] = protocol.encode(reports.delta(state, next_one)).decode()

    def stop_fixture(self) -> None:
        self.database.dispose()
        shutil.rmtree(self.directory)


class Cloud(Empty):
    """Two tenants with an instance each, and one that Nova does not know, on compute-1; what they
    hold was added up once.
    """

    def start_fixture(self) -> None:
        super().start_fixture()
        from nova_diskaudit.store import report

        state = protocol.decode_report(os.environ["REPORT"].encode(), path_host="compute-1")
        report.put(self.database, state, now=service.NOW, takeover_after_seconds=900)
        service.nova_says(self.database, RED, project_id="red", name="web")
        service.nova_says(self.database, BLUE, project_id="blue", name="db")
        service.roll_up(self.database)

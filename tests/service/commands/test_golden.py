# SPDX-License-Identifier: Apache-2.0
"""Every command in every format, for the people it is made for.

Tables are taken from a terminal, the other formats from a pipe.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.service.commands import golden, shell
from tests.service.commands.scene import Scene, environ

_LIST = ("table", "csv", "json", "value", "yaml")
_ONE = ("table", "json", "shell", "value", "yaml")
_TABLE = ("table",)


class Case(NamedTuple):
    """A golden output: a file's name, who asks, and what. Words in braces are of the scene."""

    name: str
    who: str
    words: str
    formats: tuple[str, ...]
    in_days: bool = False
    columns: int = 110


CASES = (
    Case("usage-show", "rosa", "disk usage show", _ONE),
    Case("usage-show-server", "rosa", "disk usage show --server {web}", _ONE),
    Case("usage-show-hostile", "otto", "disk usage show --server {hostile}", ("table", "shell")),
    Case("usage-list", "rosa", "disk usage list", _LIST),
    Case("usage-list-long", "rosa", "disk usage list --long", ("json",)),
    Case("usage-list-hostile", "otto", "disk usage list", ("table", "csv", "value")),
    Case("usage-list-all", "auditor", "disk usage list --all-projects -c Name -c Held", _TABLE),
    Case("usage-list-host", "auditor", "disk usage list --host compute-2 -c ID -c Held", _TABLE),
    Case(
        "usage-project-list",
        "admin",
        "disk usage project list --sort-column Name",
        _LIST,
        columns=140,
    ),
    Case(
        "usage-project-list-long",
        "admin",
        "disk usage project list --long --sort-column Name",
        ("json",),
    ),
    Case("usage-history", "rosa", "disk usage history --start {begin}", _LIST),
    Case(
        "usage-history-server",
        "rosa",
        "disk usage history --server {web} --end {days_end}",
        ("table", "json"),
        in_days=True,
    ),
    Case("finding-list", "auditor", "disk audit finding list", _LIST),
    Case("finding-list-reader", "rosa", "disk audit finding list --severity warning", _TABLE),
    Case("host-list", "admin", "disk audit host list", _LIST),
    Case("host-list-long", "admin", "disk audit host list --long", ("json",)),
    Case("host-show", "admin", "disk audit host show compute-1", _ONE),
)


@pytest.mark.parametrize(
    ("case", "form"),
    [pytest.param(case, form, id=f"{case.name}-{form}") for case in CASES for form in case.formats],
)
def test_golden(scene: Scene, case: Case, form: str) -> None:
    places = {**scene.servers, "begin": scene.hours_ago(12), "days_end": scene.hours_ago(48)}
    words = case.words.format(**places).split()
    env = environ(getattr(scene, case.who))
    if form == "table":
        said = shell.on_terminal(*words, env=env, columns=case.columns)
    else:
        done = shell.openstack(*words, "-f", form, env=env)
        assert (done.status, done.err) == (0, "")
        said = done.out
    golden.check(f"{case.name}.{form}", scene.plain(said, in_days=case.in_days))

# SPDX-License-Identifier: Apache-2.0
"""What the benchmark against the peers concludes, and that its page is made of its result file."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.bench.peers import __main__ as program
from tests.bench.peers import page, result, table
from tests.bench.peers.host import Truth
from tests.bench.peers.peer import Answers, has_ended

PAGE = pathlib.Path(__file__).parents[3] / "doc/source/peers"

DISK = ("one", "vda")
TRUE = Truth(held=10, length=64, virtual=100, used=7, highest=50)


class Sayer:
    """A peer with one field of each kind."""

    name = "sayer"
    held = ("holds",)
    used = ("uses",)


def judged(*said: Answers, only: frozenset[str] | None = None) -> list[dict[str, Any]]:
    return table.judge(Sayer(), list(said), {DISK: TRUE}, {DISK: "raw"}, only)  # type: ignore[arg-type]


def test_a_right_answer() -> None:
    held, used = judged({DISK: {"holds": 10, "uses": 7}})
    assert (held["asked"], held["right"], held["wrong"]) == ({"raw": 1}, {"raw": 1}, {})
    assert used["right"] == {"raw": 1}


def test_right_once_is_not_right() -> None:
    held, used = judged({DISK: {"holds": 10, "uses": 7}}, {DISK: {"holds": 50}})
    assert held["wrong"] == {"raw": {"the end of the highest write": 1}}
    assert used["wrong"] == {"raw": {table.NOT_TOLD: 1}}


def test_who_never_spoke_is_wrong() -> None:
    held, _ = judged()
    assert held["wrong"] == {"raw": {table.NOT_TOLD: 1}}


def test_who_was_not_asked_is_not_judged() -> None:
    held, _ = judged({}, only=frozenset({"another"}))
    assert held["asked"] == held["wrong"] == {}


@pytest.mark.parametrize(
    "value, cause",
    [
        (None, table.NOT_TOLD),
        (0, "0"),
        (50, "the end of the highest write"),
        (64, "the length of the file"),
        (100, "the size of the disk"),
        (11, "another number"),
    ],
)
def test_causes(value: int | None, cause: str) -> None:
    assert table.cause_of(value, TRUE, "held") == cause


def looked(name: str, *seconds: float, cpu: float = 1.0, wrong: int = 0) -> dict[str, Any]:
    looks = [
        {
            "round": turn,
            "seconds": one,
            "client_cpu_seconds": cpu,
            "libvirtd_cpu_seconds": 2 * cpu,
            "qemu_cpu_seconds": -1.0,
        }
        for turn, one in enumerate(seconds, 1)
    ]
    asked = {"kind": "held", "asked": {"raw": 4}, "right": {"raw": 4 - wrong}}
    return {"name": name, "looks": looks, "fields": [asked]}


def targets(*rows: dict[str, Any]) -> dict[str, tuple[float | None, bool | None]]:
    found = table.targets({row["name"]: row for row in rows})
    return {
        one["name"].split(",")[0].split(" / ")[0]: (one["value"], one["kept"])
        for one in found
        if one["bound"] is not None
    }


def test_targets_are_pairs_of_one_round() -> None:
    found = targets(
        looked("getAllDomainStats(BLOCK)", 1.0, 2.0, 3.0),
        looked("audit --no-guest, one domain", 0.5, 0.5, 0.5),
        looked("audit --no-guest", 1.7, 2.7, 30.0),
        looked("Ceilometer's pollsters", 9.0, 9.0, 9.0),
        looked("agent, full cycle", 2.0, cpu=40.0),
        looked("agent, full cycle without evidence and guests", 1.0, 1.0, 0.1),
        looked("agent, quiet cycle", 0.1, cpu=1.0, wrong=1),
    )
    assert found["audit beyond its start"] == (pytest.approx(1.2), True)
    assert found["Ceilometer's polling"] == (9.0, False)
    assert found["agent's full cycle"] == (40.0, True)
    assert found["disks whose held bytes ours tells right"] == (15 / 16, False)


def test_a_missing_peer_leaves_its_target_open() -> None:
    found = targets(looked("agent, full cycle without evidence and guests", 1.0))
    assert found["Ceilometer's polling"] == (None, None)


def test_a_run_replaces_its_parts_and_no_other(tmp_path: pathlib.Path) -> None:
    result.save(tmp_path, {"table": {"a": 1}, "other": {"b": 2}})
    result.save(tmp_path, {**result.load(tmp_path), "table": {"a": 3}})
    assert result.load(tmp_path) == {"table": {"a": 3}, "other": {"b": 2}}


def test_the_page_is_made_of_the_result_file(tmp_path: pathlib.Path) -> None:
    for name in (result.FILE, page.FILE):
        (tmp_path / name).write_bytes((PAGE / name).read_bytes())
    program.render(tmp_path)
    how = "python -m tests.bench.peers --render --output doc/source/peers"
    assert (tmp_path / page.FILE).read_text() == (PAGE / page.FILE).read_text(), how


def test_every_picture_of_the_page_is_there_and_every_one_that_is_there_is_on_it() -> None:
    shown = set(re.findall(r"!\[[^]]*\]\(([^)]*)\)", (PAGE / page.FILE).read_text()))
    assert shown == {path.name for path in PAGE.glob("*.svg")}


def test_a_page_is_made_where_there_is_none_and_filled_again(tmp_path: pathlib.Path) -> None:
    page.fill(tmp_path, {"one": "first", "two": ""})
    page.fill(tmp_path, {"one": "second", "two": ""})
    text = (tmp_path / page.FILE).read_text()
    assert "second" in text and "first" not in text
    assert text.count("Not measured yet.") == 1
    assert text.index("## One") < text.index("second") < text.index("## Two")


def test_what_people_wrote_stays_and_a_page_without_marks_is_not_touched(
    tmp_path: pathlib.Path,
) -> None:
    page.fill(tmp_path, {"one": "first"})
    path = tmp_path / page.FILE
    path.write_text("before\n" + path.read_text() + "behind\n")
    page.fill(tmp_path, {"one": "second"})
    assert path.read_text().startswith("before\n") and path.read_text().endswith("behind\n")
    written = path.read_text()
    with pytest.raises(ValueError, match="'two'"):
        page.fill(tmp_path, {"one": "third", "two": "x"})
    assert path.read_text() == written


def test_a_cell_does_not_end_at_a_bar() -> None:
    assert page.table([("a", "b"), ("1|2", "3")]) == "| a | b |\n| --- | --- |\n| 1\\|2 | 3 |"


def test_whether_a_command_ended_is_told_at_once_or_in_time() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not has_ended(process, 0.01)
        process.kill()
        assert has_ended(process, 60)


@pytest.mark.parametrize(
    "arguments",
    [["--domains", "3"], ["--domains", "many"], ["--guests", "0"], ["--rounds", "-1"]],
)
def test_a_run_that_makes_no_sense_is_refused_before_anything_is_started(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["peers", *arguments])
    with pytest.raises(SystemExit):
        program.main()
    assert "is no number of" in capsys.readouterr().err.splitlines()[-1]

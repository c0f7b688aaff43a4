# SPDX-License-Identifier: Apache-2.0
"""The recipes for images: read by hadolint, and their commands executed without a container."""

from __future__ import annotations

import configparser
import json
import pathlib
import re
import subprocess
import sys

import pytest

from tests.book.machine import CHECKOUT, PATH, TOP, Machine

RECIPES = sorted((TOP / "containers").glob("Containerfile.*"))
names = pytest.mark.parametrize("recipe", RECIPES, ids=lambda one: one.suffix[1:])


def instructions(recipe: pathlib.Path) -> list[tuple[str, str]]:
    """(word, rest) of each instruction, without comments, in one line."""
    text = re.sub(r"(?m)^#.*\n", "", recipe.read_text())
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines if line.strip()]


def test_there_is_one_for_each_side() -> None:
    assert [one.name for one in RECIPES] == ["Containerfile.agent", "Containerfile.service"]


@names
def test_hadolint_has_nothing_to_say(recipe: pathlib.Path) -> None:
    program = pathlib.Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [program, "--no-color", recipe], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@names
def test_what_it_starts_is_a_program_of_ours_or_uwsgi(recipe: pathlib.Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg")
    programs = re.findall(r"(?m)^([\w-]+) =", setup["entry_points"]["console_scripts"])
    words = dict(instructions(recipe))
    begun = json.loads(words.get("ENTRYPOINT", words["CMD"]))[0]
    assert begun in (*programs, "uwsgi")


@names
def test_its_commands_make_what_it_starts(recipe: pathlib.Path) -> None:
    steps = instructions(recipe)
    # Both stages on one machine, so what the second one copies from the first is there.
    runs = [rest for word, rest in steps if word == "RUN"]
    copied = [rest for word, rest in steps if word == "COPY"]
    assert copied == [
        f". {CHECKOUT}",
        "--from=build /opt/nova-diskaudit /opt/nova-diskaudit",
    ]
    words = dict(steps)
    start = json.loads(words.get("ENTRYPOINT", words["CMD"]))[0]
    with Machine(disk_mib=4096) as machine:
        said = machine.run(
            "\n".join([*runs, f"PATH=/opt/nova-diskaudit/bin:{PATH}", f"{start} --help", ""])
        )
        ini = machine.path("/opt/nova-diskaudit/uwsgi.ini")
        if start == "uwsgi":
            assert "http-socket = 0.0.0.0:8788\n" in ini.read_text()
            assert ini.read_text().count("http-socket") == 1
    assert "usage:" in said.lower()

# SPDX-License-Identifier: Apache-2.0
"""The recipes for images, as they are written; ``test_images`` builds them."""

from __future__ import annotations

import configparser
import json
import pathlib
import re
import subprocess
import sys

import pytest

from tests.book.machine import TOP

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

# SPDX-License-Identifier: Apache-2.0
"""A virtual environment of its own for a program of OpenStack, made once and kept."""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import sys
from collections.abc import Callable, Sequence

from tests.lab import chroot
from tests.services import place


def made(
    name: str,
    requirements: Sequence[str],
    *,
    constraints: pathlib.Path | None = None,
    then: Callable[[pathlib.Path], None] | None = None,
    of: Sequence[object] = (),
) -> pathlib.Path:
    """The environment with these; takes a minute or so when it is not in the cache.

    :param then: puts more into a new one.
    :param of: what that depends on; another environment is made when it changes.
    """
    bounds = () if constraints is None else (constraints.read_text(),)
    recipe = repr((requirements, *bounds, *of, sys.version))
    with chroot.cached(f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}") as path:
        # Its scripts name its path, so it is made where it stays; the mark says that it is whole.
        mark = path / ".complete"
        if not mark.exists():
            shutil.rmtree(path, ignore_errors=True)
            place.run(sys.executable, "-m", "venv", str(path))
            pip = (str(path / "bin/pip"), "--disable-pip-version-check", "install", "--quiet")
            bound = () if constraints is None else ("--constraint", str(constraints))
            place.run(*pip, *bound, *requirements)
            if then is not None:
                then(path)
            mark.touch()
    return path

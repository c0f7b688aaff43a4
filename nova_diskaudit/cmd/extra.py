# SPDX-License-Identifier: Apache-2.0
"""Programs of a part of this package that is not installed: a line, and no traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

_P = ParamSpec("_P")

#: exit status of a program that cannot begin
_CANNOT = 2


def needed(program: str, extra: str) -> Callable[[Callable[_P, int]], Callable[_P, int]]:
    """For the ``main`` of a program that imports what it needs when it runs: when a library is
    missing, it says so and returns 2.

    :param extra: of ``setup.cfg``, which brings these libraries.
    """

    def decorate(main: Callable[_P, int]) -> Callable[_P, int]:
        @functools.wraps(main)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> int:
            try:
                return main(*args, **kwargs)
            except ModuleNotFoundError as error:
                missing = (error.name or "").partition(".")[0]
                if missing in ("", "nova_diskaudit"):
                    raise
                print(
                    f"{program}: the Python package {missing} is missing: "
                    f"pip install 'nova-diskaudit[{extra}]'",
                    file=sys.stderr,
                )
                return _CANNOT

        return run

    return decorate

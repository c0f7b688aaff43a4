# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.bench.peers``: measure, write ``peers.json``, and render it."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import libvirt

from tests.bench.peers import curves, hangs, page, result, table
from tests.lab.hypervisor import STACKS


class Part(Protocol):
    """A module, see :mod:`tests.bench.peers`."""

    NAME: str

    def measure(self, options: result.Options, say: Any) -> dict[str, Any]: ...

    def render(self, part: dict[str, Any]) -> str: ...


PARTS: dict[str, Any] = {part.NAME: part for part in (table, hangs, curves)}


def main() -> None:
    """Run what was chosen, and render all that is known."""
    arguments = _parser().parse_args()
    libvirt.registerErrorHandler(lambda context, error: None, None)
    # So that whoever ends it leaves nothing running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = [] if arguments.render else arguments.parts.split(",")
    if unknown := set(chosen) - set(PARTS):
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    options = result.Options(
        output=arguments.output,
        domains=arguments.domains,
        guests=min(arguments.guests, arguments.domains // 2),
        rounds=arguments.rounds,
        stack=arguments.stack,
        skip=tuple(arguments.skip),
    )
    for name in chosen:
        begun = time.monotonic()
        part = PARTS[name].measure(options, _say)
        part["seconds"] = round(time.monotonic() - begun, 1)
        result.save(options.output, {**result.load(options.output), name: part})
        _say(f"{name}: {part['seconds']:.0f} s")
    render(options.output)


def render(directory: pathlib.Path) -> None:
    """Write the parts of the page, of each what is known."""
    parts = result.load(directory)
    page.fill(
        directory,
        {
            name: module.render(parts[name]) if name in parts else ""
            for name, module in PARTS.items()
        },
    )


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no number of {least} or more")
        return int(text)

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.peers",
        description="Side by side with the peers, on the same domains.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--domains", type=_at_least(4), default=100, help="domains in all")
    add("--guests", type=_at_least(1), default=2, help="of them really booted, half at the most")
    add("--rounds", type=_at_least(1), default=3, help="turns of each peer")
    add("--stack", choices=STACKS, default="host", help="whose libvirt and QEMU")
    add("--parts", default=",".join(PARTS), help="some of them, with commas between")
    add("--skip", action="append", default=[], metavar="PEER", help="leave out (may be repeated)")
    add("--output", type=pathlib.Path, default=pathlib.Path("build/peers"), help="directory")
    add("--render", action="store_true", help="measure nothing, render what is in the directory")
    return parser


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()

# SPDX-License-Identifier: Apache-2.0
"""The result file of the benchmark: one JSON for all parts, with the machine and the versions."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import platform
import subprocess
from typing import Any

FILE = "peers.json"
_TOP = pathlib.Path(__file__).parents[3]


@dataclasses.dataclass(frozen=True)
class Options:
    """What a run was asked for.

    ``guests`` of the ``domains`` are really booted. ``output`` is a directory that exists.
    ``skip`` are names of peers that are left out.
    """

    output: pathlib.Path
    domains: int = 100
    guests: int = 2
    rounds: int = 3
    stack: str = "host"
    skip: tuple[str, ...] = ()


def about(options: Options) -> dict[str, Any]:
    """Where and of what a part was measured; each part has its own, for they may be run apart."""
    return {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short=12", "HEAD") + ("+" if _is_changed() else ""),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "options": {
            "domains": options.domains,
            "guests": options.guests,
            "rounds": options.rounds,
            "stack": options.stack,
        },
    }


def load(directory: pathlib.Path) -> dict[str, Any]:
    """All parts that were ever measured, by name; none, when there is no file."""
    path = directory / FILE
    parts: dict[str, Any] = json.loads(path.read_text())["parts"] if path.exists() else {}
    return parts


def save(directory: pathlib.Path, parts: dict[str, Any]) -> None:
    """Write the file anew."""
    text = json.dumps({"format": 1, "parts": parts}, indent=1, sort_keys=True)
    partial = directory / f"{FILE}.partial"
    partial.write_text(text + "\n")
    partial.rename(directory / FILE)


def sentence(about: dict[str, Any]) -> str:
    """The machine and the size, for the head of a rendered part."""
    asked = about["options"]
    return (
        f"{asked['domains']} domains, {asked['guests']} of them booted guests; "
        f"{about['cores']} cores ({about['processor']}) without hardware virtualisation, "
        f"{about['memory_bytes'] / 2**30:.0f} GiB, Linux {about['kernel']}, "
        f"Python {about['python']}, load {about['load_before']} before the run; "
        f"commit {about['commit']}, {about['at'][:16].replace('T', ' ')} UTC."
    )


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(_TOP), *words], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _is_changed() -> bool:
    """Whether the tree differs from the commit, but for what the benchmark itself writes."""
    return bool(_git("status", "--porcelain", "--untracked-files=no", "--", ":!doc"))


def _processor() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

# SPDX-License-Identifier: Apache-2.0
"""The table as Markdown."""

from __future__ import annotations

import collections
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.peers import page
from tests.bench.peers.result import sentence

_KINDS = {"held": "held by the storage", "used": "used in the guest"}


def render(part: Mapping[str, Any]) -> str:
    """See :mod:`tests.bench.peers`."""
    versions = part["versions"]
    classes = ", ".join(f"{name} ({count})" for name, count in sorted(part["classes"].items()))
    blocks = [
        f"{sentence(part['about'])} libvirt {versions['libvirt']}, QEMU {versions['qemu']}.",
        "What a look costs: the median of the rounds, and of the wall time the range.",
        _costs(part["peers"]),
        f"What is right, of {part['disks']} disks: {classes}."
        + (
            f" {part['unsteady']} more changed meanwhile, and are left out."
            * bool(part["unsteady"])
        ),
        _answers(part["peers"]),
    ]
    missing = [row for row in part["peers"] if row["missing"]]
    if missing:
        blocks.append("Not had on this machine:")
        blocks.append("\n".join(f"* {row['name']}: {row['missing']}" for row in missing))
    troubled = [
        f"* {row['name']}, round {look['round']}: {look['trouble']}"
        for row in part["peers"]
        for look in row["looks"]
        if look["trouble"]
    ]
    if troubled:
        blocks += ["Looks that did not end well:", "\n".join(troubled)]
    blocks += ["What the project demands of itself:", _targets(part["targets"])]
    return "\n\n".join(blocks) + "\n"


def _costs(peers: Sequence[Mapping[str, Any]]) -> str:
    head = (
        "peer", "wall time, ms", "processor time, ms: tool / libvirtd / QEMUs", "memory, MiB PSS",
        "calls of libvirt", "QMP commands",
    )  # fmt: skip
    rows = [head]
    for row in peers:
        if row["missing"]:
            continue
        looks = row["looks"]
        wall = [look["seconds"] * 1000 for look in looks]
        spread = f" ({_number(min(wall))} to {_number(max(wall))})" if len(wall) > 1 else ""
        spent = " / ".join(
            _number(max(0.0, statistics.median(look[key] for look in looks) * 1000))
            for key in ("client_cpu_seconds", "libvirtd_cpu_seconds", "qemu_cpu_seconds")
        )
        of = f", of {row['domains']} domain{'s' * (row['domains'] > 1)}" if row["domains"] else ""
        memory = row["memory_bytes"]
        rows.append(
            (
                f"{row['name']}{of}",
                f"{_number(statistics.median(wall))}{spread}",
                spent,
                "" if memory is None else f"{memory / 2**20:.1f}",
                _count(row["libvirt_calls"]),
                _count(row["qemu_commands"]),
            )
        )
    return page.table(rows)


def _answers(peers: Sequence[Mapping[str, Any]]) -> str:
    rows: list[Sequence[str]] = [("peer", "field", "right", "wrong: what it is instead")]
    for row in peers:
        if row["missing"]:
            continue
        name = f"{row['name']} ({row['version']})"
        if not any(field["kind"] == "held" for field in row["fields"]):
            rows.append((name, f"none for what is {_KINDS['held']}", "", ""))
        for field in row["fields"]:
            asked, right = sum(field["asked"].values()), sum(field["right"].values())
            rows.append(
                (
                    name,
                    f"`{field['field']}`, {_KINDS[field['kind']]}",
                    f"{right} of {asked}",
                    _causes(field["wrong"]),
                )
            )
    return page.table(rows)


def _causes(wrong: Mapping[str, Mapping[str, int]]) -> str:
    by_cause: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for name, causes in wrong.items():
        for cause, count in causes.items():
            by_cause[cause][name] = count
    return "; ".join(
        f"{sum(names.values())} {cause} ("
        + ", ".join(f"{name}: {count}" for name, count in sorted(names.items()))
        + ")"
        for cause, names in sorted(by_cause.items())
    )


def _targets(targets: Sequence[Mapping[str, Any]]) -> str:
    rows: list[Sequence[str]] = [("figure", "measured", "bound")]
    for one in targets:
        value = one["value"]
        words = {">=": "at least", "<=": "at most"}
        kept = {None: "", True: "", False: " **(missed)**"}[one["kept"]]
        rows.append(
            (
                one["name"],
                "" if value is None else _number(value),
                "" if one["bound"] is None else f"{words[one['sense']]} {one['bound']:g}{kept}",
            )
        )
    return page.table(rows)


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:g}"

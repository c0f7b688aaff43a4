# SPDX-License-Identifier: Apache-2.0
"""The story of one disk as a page to read from top to bottom.

Numbers are exact here, with the readable size beside them: whoever reads this page compares it
with what other tools print. No number is ever wrapped or cut.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from nova_diskaudit import findings
from nova_diskaudit.text import between, exact, moment, printable, size

if TYPE_CHECKING:
    from nova_diskaudit.explain import Advice, ChainLink, Story

_WIDTH = 96
_INDENT = "  "
_BOLD = "\x1b[1m"
_SEVERITY = {"error": "\x1b[1;31m", "warning": "\x1b[33m", "info": ""}
_PLAIN = "\x1b[0m"


def render(story: Story, *, color: bool = False) -> str:
    """The page, ending with a newline; with colours only when asked."""
    sections = (
        ("What libvirt prints", _libvirt(story)),
        ("What the storage holds", _storage(story)),
        ("What the guest claims", _guest(story)),
        ("The verdict", _verdict(story)),
        ("Findings, and what to do", _findings(story.findings, color)),
    )
    lines = list(_title(story))
    for number, (heading, body) in enumerate(sections, start=1):
        words = f"{number}. {heading}"
        lines += ["", f"{_BOLD}{words}{_PLAIN}" if color else words, *body]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _title(story: Story) -> Iterator[str]:
    disk = story.disk
    yield (
        f"{printable(story.domain)} {printable(disk.target)}: "
        f"{disk.kind} disk, {_kind(disk.storage, disk.format)}"
    )
    yield (
        f"instance {printable(story.instance)}, {story.state}, "
        f"on {printable(story.host)} at {moment(story.as_of)}"
    )


def _libvirt(story: Story) -> Iterator[str]:
    info = story.domblkinfo
    rows: list[tuple[str, ...]] = [("", "virsh domblkinfo", "predicted here", "")]
    for name in ("capacity", "allocation", "physical"):
        measured = getattr(info.measured, name, None)
        predicted = getattr(info.predicted, name, None)
        readable = size(predicted if measured is None else measured)
        rows.append((name.capitalize(), exact(measured), exact(predicted), readable))
    yield from _aligned(rows, words=(0,))
    if info.reason:
        yield from _prose(f"virsh domblkinfo: {printable(info.reason, 400)}")
    if info.measured and info.predicted and info.measured != info.predicted:
        yield from _prose(
            "The two columns differ: the disk was written to between the questions, or libvirt "
            "took a branch that is not known here."
        )
    if info.branch:
        yield from _prose(f"Why: {printable(info.branch, 600)}.")
    if info.cause_of_equality:
        yield from _prose(
            "All three are equal, which says nothing about use. "
            f"Cause {printable(info.cause_of_equality, 400)}."
        )
    if info.qmp:
        yield ""
        yield from _aligned(
            [
                ("QMP field", "bytes", ""),
                ("virtual-size", exact(info.qmp.virtual_size), "what the guest sees"),
                ("actual-size", _or(info.qmp.actual_size, "not reported"), "what the image holds"),
                (
                    "wr_highest_offset",
                    _or(info.qmp.wr_highest_offset, "0 or absent"),
                    "end of the farthest write since QEMU opened the image",
                ),
                ("(length)", _or(info.qmp.length, "not to be had"), "where the image ends"),
            ],
            words=(0, 2),
        )
    if story.libvirt:
        triple = story.libvirt
        yield ""
        yield from _prose(
            "virsh domstats --block uses the same three names for other things: capacity "
            f"{exact(triple.capacity)}, allocation {exact(triple.allocation)} "
            f"(wr_highest_offset), physical {exact(triple.physical)} "
            f"(actual-size; the length when that is 0), at {moment(triple.as_of)}."
        )


def _storage(story: Story) -> Iterator[str]:
    if not story.chain:
        yield from _prose("Nothing: the disk has no image.")
        return
    rows: list[tuple[str, ...]] = [("", "held", "", "length", "promised", "image")]
    for depth, link in enumerate(story.chain):
        rows.append(_link(f"backing {depth}" if depth else "top", link))
    if story.data_file:
        rows.append(_link("data", story.data_file))
    yield from _aligned(rows, words=(0, 5))
    for link in (*story.chain, *filter(None, [story.data_file])):
        if link.finding:
            yield from _prose(f"{printable(link.source or '?')}: {printable(link.finding, 400)}")
    if len(story.chain) > 1:
        yield from _prose("Images below the top are shared; their bytes are charged to nobody.")


def _link(role: str, link: ChainLink) -> tuple[str, ...]:
    return (
        role,
        exact(link.host_allocated_bytes),
        size(link.host_allocated_bytes),
        exact(link.container_bytes),
        exact(link.virtual_bytes),
        f"{_kind(link.storage, link.format)} {printable(link.source or '-')}",
    )


def _kind(storage: str, image_format: str | None) -> str:
    return printable(f"{storage}/{image_format or '?'}")


def _guest(story: Story) -> Iterator[str]:
    guest = story.guest
    if guest.state != "answered":
        entry = findings.CATALOGUE.get(guest.state)
        yield from _prose(f"Nothing. {entry.cause if entry else printable(guest.state)}")
        return
    version = printable(guest.agent_version or "unknown")
    yield from _prose(
        f"Its agent (version {version}) at {moment(guest.as_of)}. A claim, not a measurement."
    )
    if not story.filesystems:
        yield from _prose("No filesystem of the guest was traced to this disk.")
        return
    rows: list[tuple[str, ...]] = [
        ("filesystem", "type", "used", "", "size", "place", "mounted at")
    ]
    for fs in story.filesystems:
        place = fs.place if len(fs.disks) < 2 else f"{fs.place} {', '.join(fs.disks)}"
        rows.append(
            (
                printable(fs.name, 60),
                printable(fs.type, 20),
                exact(fs.used_bytes),
                size(fs.used_bytes),
                exact(fs.total_bytes),
                printable(place),
                printable(fs.mountpoint or "-", 80),
            )
        )
    yield from _aligned(rows, words=(0, 1, 5, 6))


def _verdict(story: Story) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("rule", "bytes", "", "with the numbers in")]
    for step in story.arithmetic:
        numbers = (exact(step.result_bytes), size(step.result_bytes))
        rows.append((printable(step.name), *numbers, printable(step.formula, 400)))
    yield from _aligned(rows, words=(0, 3))
    disk = story.disk
    used = disk.used
    bounds = between(used.low, used.high)
    known = "" if used.bytes is None else f"{size(used.bytes)}, within "
    yield ""
    yield from _prose(f"In use: {known}{bounds} (basis: {used.basis}).")
    back = disk.reclaimable
    guess = "" if back.estimate is None else f", about {size(back.estimate)}"
    how = "" if back.how == "none" else f" by: {back.how}"
    yield from _prose(f"Could be given back: {between(back.low, back.high)}{guess}{how}.")


def _findings(advices: Iterable[Advice], color: bool) -> Iterator[str]:
    told = False
    for advice in advices:
        told = True
        start = _SEVERITY.get(advice.severity, "") if color else ""
        end = _PLAIN if start else ""
        yield f"{_INDENT}{start}{printable(advice.code)}{end} ({advice.severity})"
        yield from _prose(printable(advice.message, 600), depth=2)
        yield from _prose(f"To do: {printable(advice.action, 400)}", depth=2)
    if not told:
        yield from _prose("None.")


# --- layout -----------------------------------------------------------------------------------


def _or(count: int | None, otherwise: str) -> str:
    return otherwise if count is None else exact(count)


def _prose(words: str, depth: int = 1) -> list[str]:
    indent = _INDENT * depth
    return textwrap.wrap(
        words,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _aligned(rows: Sequence[tuple[str, ...]], words: tuple[int, ...]) -> Iterator[str]:
    """Rows in columns: those at the positions ``words`` to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if at in words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield _INDENT + "  ".join(cells)

# SPDX-License-Identifier: Apache-2.0
"""The report as tables for people: one row a disk, what deserves attention first."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from nova_diskaudit import findings, record
from nova_diskaudit.record import Disk, Finding, HostReport, Instance, Storage
from nova_diskaudit.text import between, exact, moment, printable, size

# Wide enough that nothing is folded: a file or a pipe has no edge.
_NO_EDGE = 10_000

_RANK = {"error": 0, "warning": 1, "info": 2}
_STYLE = {"error": "bold red", "warning": "yellow", "info": ""}
_CELL_LIMIT = 48
_GAP = 2


def render(
    report: HostReport,
    *,
    wide: bool = False,
    columns: int | None = None,
    color: bool = False,
) -> str:
    """The whole report as text.

    ``columns`` is the terminal's width (None: there is no terminal). A terminal too narrow for
    the numbers is overrun rather than obeyed: a number is never cut or folded.
    """
    parts: list[RenderableType] = [
        _summary(report),
        *_host_findings(report),
        _disks(report.instances, wide=wide),
        Text(""),
    ]
    if report.storages:
        parts += [_storages(report.storages, wide=wide), Text("")]
    if wide:
        parts.extend(_messages(report))
        parts.extend(_leftovers(report.storages))
    parts.extend(_legend(report))
    return _printed(parts, columns=columns or _NO_EDGE, color=color)


def _printed(parts: Iterable[RenderableType], *, columns: int, color: bool) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=_NO_EDGE,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    for part in parts:
        console.width = _fit(part, columns) if isinstance(part, Table) else columns
        console.print(part)
    # Cells are padded to their column; the padding at a line's end is of no use to anybody.
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


# --- the parts --------------------------------------------------------------------------------


def _summary(report: HostReport) -> Text:
    disks = [disk for instance in report.instances for disk in instance.disks]
    sums = record.totals(disks)
    first = (
        f"host {printable(report.host)} at {moment(report.as_of)}: "
        f"{_count(len(report.instances), 'instance')}, {_count(len(disks), 'disk')}"
    )
    second = (
        f"local disks ({sums.disks}): "
        f"promised {_sum(sums.virtual_bytes, sums.virtual_unknown, sums.disks)}, "
        f"held {_sum(sums.host_allocated_bytes, sums.host_allocated_unknown, sums.disks)}, "
        f"guests say {_sum(sums.guest_used_bytes, sums.guest_used_unknown, sums.disks)}"
    )
    return Text(f"{first}\n{second}\n")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _sum(number: int, unknown: int, disks: int) -> str:
    if disks and unknown == disks:
        return "-"  # a sum of nothing known is no 0
    return f"{size(number)} ({unknown} unknown)" if unknown else size(number)


def _host_findings(report: HostReport) -> Iterator[Text]:
    for finding in report.findings:
        yield Text.assemble(
            (finding.code, _STYLE[finding.severity]), f": {printable(finding.message, 400)}\n"
        )


def _disks(instances: Iterable[Instance], *, wide: bool) -> Table:
    table = _table()
    show = exact if wide else size
    _words(table, "INSTANCE")
    if wide:
        _words(table, "UUID")
        _words(table, "PROJECT")
    for heading in ("STATE", "DISK", "KIND"):
        _words(table, heading)
    for heading in ("PROMISED", "HELD", "GUEST SAYS", "USED", "RECLAIMABLE"):
        _number(table, heading)
    if wide:
        for heading in ("ESTIMATE", "BACKING", "CONTAINER", "HIGH WATER"):
            _number(table, heading)
        for heading in ("LIBVIRT CAPACITY", "LIBVIRT ALLOCATION", "LIBVIRT PHYSICAL"):
            _number(table, heading)
        _words(table, "HELD BY")
        _words(table, "SOURCE")
    _words(table, "FINDINGS")
    for instance in sorted(instances, key=_attention):
        named = _named(instance, wide=wide)
        own = _about_instance(instance)
        if own or not instance.disks:
            blank = [Text("")] * (len(table.columns) - len(named) - 2)
            table.add_row(*named, Text("*"), *blank, _codes(own))
        for disk in instance.disks:
            numbers = _wide_numbers(disk) if wide else []
            table.add_row(
                *named,
                Text(printable(disk.target, _CELL_LIMIT)),
                Text(_kind(disk)),
                Text(show(disk.virtual_bytes)),
                Text(show(disk.host_allocated_bytes)),
                Text(show(disk.guest_used_bytes)),
                Text(_used(disk, show)),
                Text(_reclaimable(disk, show)),
                *numbers,
                _codes((*disk.findings, *_silence(instance, disk))),
            )
    return table


def _storages(storages: Iterable[Storage], *, wide: bool) -> Table:
    table = _table()
    show = exact if wide else size
    _words(table, "STORAGE")
    _words(table, "KIND")
    for heading in (
        "TOTAL",
        "FREE",
        "PROMISED",
        "IMAGE CACHE",
        "SAVED",
        "LEFTOVERS",
        "INODES FREE",
    ):
        _number(table, heading)
    if wide:
        _words(table, "IDENTITY")
    _words(table, "FINDINGS")
    for storage in sorted(storages, key=lambda one: one.path):
        identity = [Text(printable(storage.identity))] if wide else []
        table.add_row(
            Text(printable(storage.path)),
            Text(printable("/".join(filter(None, (storage.kind, storage.fs_type))))),
            Text(show(storage.total_bytes)),
            Text(show(storage.free_bytes)),
            Text(show(storage.virtual_sum_bytes)),
            Text(show(storage.image_cache_bytes)),
            Text(show(storage.managed_save_bytes)),
            Text(str(len(storage.leftovers) or "-")),
            Text(exact(storage.inodes_free)),
            *identity,
            _codes(storage.findings),
        )
    return table


def _messages(report: HostReport) -> Iterator[Text]:
    """Every finding's own words, which tell what was seen."""
    lines: list[Text] = []
    for instance in sorted(report.instances, key=_attention):
        name = printable(instance.domain, _CELL_LIMIT)
        places = [("", instance.findings)]
        places += [(f" {printable(disk.target)}", disk.findings) for disk in instance.disks]
        for place, found in places:
            lines += [_message(f"{name}{place}", finding) for finding in found]
    for storage in report.storages:
        lines += [_message(printable(storage.path), finding) for finding in storage.findings]
    if lines:
        yield Text("FINDINGS IN FULL", style="bold")
        yield from lines
        yield Text("")


def _message(place: str, finding: Finding) -> Text:
    return Text.assemble(
        f"{place}: ",
        (printable(finding.code), _STYLE[finding.severity]),
        f": {printable(finding.message, 400)}",
    )


def _leftovers(storages: Iterable[Storage]) -> Iterator[Text]:
    lines = [
        Text(f"{size(leftover.host_allocated_bytes):>10}  {printable(leftover.name, 200)}")
        for storage in storages
        for leftover in storage.leftovers
    ]
    if lines:
        yield Text("LEFTOVERS (files that belong to no known domain)", style="bold")
        yield from lines
        yield Text("")


def _legend(report: HostReport) -> Iterator[Text]:
    """Each code that occurs, once: why, and what to do."""
    occurring: dict[str, Finding] = {finding.code: finding for finding in _all_findings(report)}
    for instance in report.instances:
        for disk in instance.disks:
            occurring |= {finding.code: finding for finding in _silence(instance, disk)}
    for code in sorted(occurring, key=lambda code: (_RANK[occurring[code].severity], code)):
        entry = findings.CATALOGUE.get(code)
        words = f"{entry.cause} {entry.action}" if entry else occurring[code].message
        yield Text.assemble(
            (printable(code), _STYLE[occurring[code].severity]), f": {printable(words, 400)}"
        )


# --- cells ------------------------------------------------------------------------------------


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")


def _words(table: Table, heading: str) -> None:
    table.add_column(heading, overflow="fold")


def _number(table: Table, heading: str) -> None:
    table.add_column(heading, justify="right", no_wrap=True, overflow="crop")


def _fit(table: Table, columns: int) -> int:
    """Set the widths of all columns and return their sum, which may exceed ``columns``.

    Numbers get what they need, words at least their longest word; what the terminal has left
    goes to the words that would like more.
    """
    wanted: list[int] = []
    needed: list[int] = []
    for column in table.columns:
        cells = [str(cell) for cell in (column.header, *column.cells)]
        words = [word for cell in cells for word in cell.split()]
        wanted.append(max(map(cell_len, cells)))
        needed.append(max(map(cell_len, cells if column.no_wrap else words)))
    gaps = _GAP * (len(needed) - 1)
    spare = columns - gaps - sum(needed)
    for column, want, need in zip(table.columns, wanted, needed, strict=True):
        more = max(0, min(want - need, spare))
        spare -= more
        column.width = need + more
    return gaps + sum(column.width or 0 for column in table.columns)


def _named(instance: Instance, *, wide: bool) -> list[Text]:
    """The cells that say which instance a row is about; on every row, so that grep works."""
    name = printable(instance.domain, _CELL_LIMIT)
    if wide:
        project = printable(instance.project_id or "-", _CELL_LIMIT)
        return [Text(name), Text(instance.uuid), Text(project), Text(instance.state)]
    return [Text(f"{name} {instance.uuid[:8]}"), Text(instance.state)]


def _kind(disk: Disk) -> str:
    return printable(f"{disk.kind} {disk.storage}/{disk.format or '-'}", _CELL_LIMIT)


def _used(disk: Disk, show: Callable[[int | None], str]) -> str:
    used = disk.used
    if used.bytes is not None:
        return show(used.bytes)
    bounds = between(used.low, used.high, show)
    return "-" if bounds == "-" else f"- ({bounds})"


def _reclaimable(disk: Disk, show: Callable[[int | None], str]) -> str:
    reclaimable = disk.reclaimable
    words = between(reclaimable.low, reclaimable.high, show)
    return words if reclaimable.how == "none" else f"{words} {reclaimable.how}"


def _wide_numbers(disk: Disk) -> list[Text]:
    libvirt = disk.libvirt
    triple = (
        (libvirt.capacity, libvirt.allocation, libvirt.physical) if libvirt else (None, None, None)
    )
    numbers = (
        disk.reclaimable.estimate,
        disk.backing_bytes,
        disk.container_bytes,
        disk.high_water_bytes,
        *triple,
    )
    texts = (disk.host_allocated_source or "-", disk.source or "-")
    return [Text(exact(number)) for number in numbers] + [Text(printable(text)) for text in texts]


def _codes(found: Iterable[Finding]) -> Text:
    cell = Text()
    unique = {finding.code: finding for finding in found}
    for code in sorted(unique, key=lambda code: (_RANK[unique[code].severity], code)):
        if cell:
            cell.append(" ")
        cell.append(printable(code, _CELL_LIMIT), style=_STYLE[unique[code].severity])
    return cell


# --- what goes where --------------------------------------------------------------------------


def _guest_state(instance: Instance) -> list[Finding]:
    """The finding that says why the guest is silent, made up from the code if nobody drew it."""
    code = instance.guest.state
    if code == "answered":
        return []
    drawn = [finding for finding in instance.findings if finding.code == code]
    entry = findings.CATALOGUE.get(code)
    severity = entry.severity if entry else "info"
    return drawn or [Finding(code=code, severity=severity, message=entry.cause if entry else code)]


def _silence(instance: Instance, disk: Disk) -> list[Finding]:
    """Why this disk's guest number is unknown, if the guest's silence is the reason."""
    return _guest_state(instance) if disk.guest_used_bytes is None else []


def _about_instance(instance: Instance) -> list[Finding]:
    """Findings that get a row of their own, because no disk's row tells them."""
    told = {finding.code for disk in instance.disks for finding in _silence(instance, disk)}
    return [finding for finding in instance.findings if finding.code not in told]


def _all_findings(report: HostReport) -> Iterator[Finding]:
    yield from report.findings
    for storage in report.storages:
        yield from storage.findings
    for instance in report.instances:
        yield from instance.findings
        for disk in instance.disks:
            yield from disk.findings


def _attention(instance: Instance) -> tuple[int, int, str, str]:
    """Errors, then warnings, then the most to be gained for certain, then the name.

    The upper bound of what is reclaimable does not count: of a silent guest it is ignorance.
    """
    found = [*instance.findings, *(one for disk in instance.disks for one in disk.findings)]
    rank = min((_RANK[finding.severity] for finding in found), default=len(_RANK))
    gain = max(
        (disk.reclaimable.estimate or disk.reclaimable.low for disk in instance.disks), default=0
    )
    return rank, -gain, instance.domain, instance.uuid

# SPDX-License-Identifier: Apache-2.0
import re

import pytest

from nova_diskaudit import record
from nova_diskaudit.render import table
from tests.unit.render import golden, sample


def _rows(page: str, word: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith(word)]


def test_golden() -> None:
    golden.check("table.txt", table.render(sample.report()))


def test_golden_wide() -> None:
    golden.check("table-wide.txt", table.render(sample.report(), wide=True))


def test_golden_narrow_terminal() -> None:
    golden.check("table-80.txt", table.render(_host(sample.seed()), columns=80))


def test_what_deserves_attention_comes_first() -> None:
    def named(name: str, *findings: record.Finding, gain: int = 0) -> record.Instance:
        disk = sample.disk(
            "vda",
            guest_used_bytes=1,
            reclaimable=record.Reclaimable(low=0, high=gain, estimate=gain, how="none"),
            findings=findings,
        )
        return record.Instance(
            **{**sample._fields(sample.seed()), "domain": name, "findings": (), "disks": (disk,)}
        )

    def finding(severity: record.Severity) -> record.Finding:
        return record.Finding(code="c", severity=severity, message="m")

    page = table.render(
        _host(
            named("quiet-b"),
            named("quiet-a"),
            named("hint", finding("info"), gain=5),
            named("warned-little", finding("warning"), gain=1),
            named("warned-much", finding("warning"), gain=7),
            named("broken", finding("error")),
        )
    )
    order = [line.split()[0] for line in page.splitlines() if " 8f3a11c2 " in line]
    assert order == ["broken", "warned-much", "warned-little", "hint", "quiet-a", "quiet-b"]


def test_disks_of_an_instance_stay_together() -> None:
    rows = _rows(table.render(sample.report()), "instance-0000002a")
    assert [row.split()[3] for row in rows] == ["vda", "vdb", "vdc", "sda"]


def test_unknown_is_a_dash_with_its_reason_in_the_row() -> None:
    page = table.render(sample.report())
    (row,) = _rows(page, "instance-00000007")
    numbers = "512 MiB 512 MiB - - (0..512 MiB) 0 B"
    expected = f"instance-00000007 11111111 paused vda local block/raw {numbers} agent-timeout"
    assert " ".join(row.split()) == expected
    (row,) = _rows(page, "instance-00000099")
    (row,) = _rows(page, "instance-00000099")
    expected = "instance-00000099 99999999 unknown * domain-unreadable"
    assert " ".join(row.split()) == expected


def test_every_code_of_a_row_is_explained_once() -> None:
    page = table.render(sample.report())
    for code in ("agent-timeout", "domain-unreadable", "untrimmed", "storage-unresponsive"):
        assert len(re.findall(rf"^{code}: ", page, re.MULTILINE)) == 1


@pytest.mark.parametrize("wide", [False, True])
def test_no_number_is_lost_on_a_narrow_terminal(wide: bool) -> None:
    report = _host(sample.seed(), sample.silent())
    free = table.render(report, wide=wide)
    narrow = table.render(report, wide=wide, columns=20)
    number = re.compile(r"[\d,.]*\d(?: [KMG]?i?B)?\b")
    first_rows = [line for line in free.splitlines() if line.startswith("instance-")]
    for row in first_rows:
        for found in number.findall(row.partition("raw")[2]):
            assert found in narrow


def test_data_is_never_markup_and_never_moves_the_terminal() -> None:
    page = table.render(sample.report())
    assert "[bold red]b[/bold red]" in page and ":smile:" in page
    assert all(line.isprintable() for line in page.split("\n"))
    colored = table.render(sample.report(), color=True, columns=200)
    # The only escape sequences are colours.
    assert re.sub(r"\x1b\[[\d;]*m", "", colored).replace("\n", "").isprintable()


def test_colour_only_when_asked() -> None:
    assert "\x1b" not in table.render(sample.report())
    assert "\x1b[1;31m" in table.render(sample.report(), color=True)


def test_a_sum_of_nothing_known_is_not_zero() -> None:
    page = table.render(_host(sample.silent()))
    assert "promised 512 MiB, held 512 MiB, guests say -\n" in page


def test_nothing_at_all() -> None:
    page = table.render(_host())
    assert page.startswith("host compute-1 at 2026-11-23 12:00:00Z: 0 instances, 0 disks\n")


def _host(*instances: record.Instance) -> record.HostReport:
    return record.HostReport(
        schema="1.0", host="compute-1", as_of=sample.AS_OF, storages=(), instances=instances
    )

# SPDX-License-Identifier: Apache-2.0
"""Who stands it when others hang: each way to fail is found, and shown."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.bench.peers.curves import CurveError, Point, check, faster_than_linear
from tests.bench.peers.hangs import AGENT, Row, render, unharmed

GOOD = Row(
    AGENT, "1", domains=(90, 90), guests=(2, 2), looks=2, late=0.4, held=2, starts=[0.3, 0.4]
)

ABOUT = {
    "options": {"domains": 100, "guests": 2},
    "cores": 2,
    "processor": "some",
    "memory_bytes": 2**30,
    "kernel": "6",
    "python": "3.11",
    "load_before": 0.1,
    "commit": "abc",
    "at": "2026-01-01T00:00:00+00:00",
}


def point(**changed: Any) -> dict[str, Any]:
    rows = [dataclasses.asdict(row) for row in (GOOD, dataclasses.replace(GOOD, **changed))]
    rows[1]["name"] = "other"
    return {"stopped": 5, "hung": 5, "rows": rows}


def test_who_tells_of_everybody_stands_it() -> None:
    assert unharmed(point()) == [AGENT, "other"]
    assert unharmed(point(guests=None)) == [AGENT, "other"]


@pytest.mark.parametrize(
    "changed",
    [
        {"domains": (89, 90)},
        {"guests": (1, 2)},
        {"domains": None},  # it knows no domains
        {"given_up": 1},
        {"held": 4},
        {"absent": "not installed", "domains": None, "held": None},
    ],
)
def test_who_does_not(changed: dict[str, Any]) -> None:
    assert unharmed(point(**changed)) == [AGENT]


def test_what_never_ended_is_shown_as_such() -> None:
    harmed = point(domains=(3, 90), guests=None, given_up=2, late=None, held=2, starts=[0.3, None])
    part = {
        "about": ABOUT,
        "versions": {"libvirt": "9", "qemu": "7"},
        "size": {"domains": 100, "patience": 15.0, "looks": 2},
        "points": [harmed],
    }
    text = render(part)
    assert "**3 of 90**" in text and "90 of 90" in text
    assert text.count("> 15") == 2
    assert "2, 2 given up" in text


def report(**changed: Any) -> dict[str, Any]:
    disk = {"host_allocated_bytes": 1, "libvirt": {}, "backing_bytes": 7} | changed
    return {"instances": [{"domain": "a", "disks": [disk], "filesystems": []}]}


def test_nothing_may_be_left_out_to_be_fast() -> None:
    asked = Point(1, 1, 1, {"a": 7})
    check(report(), asked)
    for left_out in ({"libvirt": None}, {"host_allocated_bytes": None}, {"backing_bytes": 6}):
        with pytest.raises(CurveError):
            check(report(**left_out), asked)
    with pytest.raises(CurveError):
        check(report(), dataclasses.replace(asked, domains=2))


def test_what_grows_too_fast_is_named() -> None:
    growth = {
        "bulk": {"exponent": 2.0, "linear_at_most": False},  # not ours
        "audit": {"exponent": 1.0, "linear_at_most": True},
        "quiet_cycle": {"exponent": 1.5, "linear_at_most": False},
    }
    part = {"curves": {"disks": {"unit": "disks per domain", "growth": growth}}}
    assert faster_than_linear(part) == ["agent, quiet cycle with disks per domain: 1.50"]

# SPDX-License-Identifier: Apache-2.0
"""Placements that are not well. What a real one says is in tests/service/test_placement.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from oslo_config import cfg

from nova_diskaudit.cloud import CloudError, answer, connection, placement
from tests.canned import Canned

UUID = "5f0c2d1a-8a4e-4f0b-9d0e-2b1c7f6a9e11"
PROVIDER = {
    "uuid": UUID,
    "name": "compute-1",
    "generation": 7,
    "root_provider_uuid": UUID,
    "parent_provider_uuid": None,
    "links": [{"rel": "self", "href": "/resource_providers/x"}],
}

Ask = Callable[[placement.Placement], Any]


def providers(asked: placement.Placement) -> Any:
    return asked.providers()


def allocations(asked: placement.Placement) -> Any:
    return asked.allocations(UUID)


def claim(asked: placement.Placement) -> Any:
    return asked.claimed_disk_gb("red")


PATHS = {
    providers: "/resource_providers",
    allocations: f"/resource_providers/{UUID}/allocations",
    claim: "/usages",
}


@pytest.fixture
def asked(conf: cfg.ConfigOpts) -> placement.Placement:
    return placement.Placement(connection.connect(conf, group="placement"))


def test_what_is_not_known_is_no_matter(asked: placement.Placement, canned: Canned) -> None:
    canned.answers["/resource_providers"] = {"resource_providers": [PROVIDER], "more": []}
    assert asked.providers() == [
        placement.Provider(uuid=UUID, name="compute-1", generation=7, root_provider_uuid=UUID)
    ]
    assert canned.asked[-1] == "GET /resource_providers"


@pytest.mark.parametrize(
    "ask, told",
    [
        (providers, b""),
        (providers, b"<html>"),
        (providers, b"[]"),
        (providers, b"{}"),
        (providers, b'{"resource_providers": {}}'),
        (providers, b"[" * 100_000),
        (providers, b'{"resource_providers": [\xff]}'),
        (providers, {"resource_providers": [PROVIDER | {"generation": -1}]}),
        (providers, {"resource_providers": [PROVIDER | {"generation": "7"}]}),
        (providers, {"resource_providers": [PROVIDER | {"generation": 2**70}]}),
        (providers, {"resource_providers": [PROVIDER | {"uuid": "../usages"}]}),
        (providers, {"resource_providers": [PROVIDER | {"name": "x" * 256}]}),
        (allocations, {"allocations": {}}),
        (allocations, {"allocations": [], "resource_provider_generation": 1}),
        (
            allocations,
            {
                "allocations": {UUID: {"resources": {"DISK_GB": -1}}},
                "resource_provider_generation": 1,
            },
        ),
        (
            allocations,
            {
                "allocations": {"a b": {"resources": {"DISK_GB": 1}}},
                "resource_provider_generation": 1,
            },
        ),
        (claim, {"usages": {"DISK_GB": 1.5}}),
        (claim, {"usages": {"DISK_GB": None}}),
        (claim, {"usages": {"INSTANCE": {"DISK_GB": 1}}}),
        (claim, {"usages": {"DISK_GB": 10**30}}),
    ],
)
def test_an_answer_that_is_not_understood(
    asked: placement.Placement, canned: Canned, ask: Ask, told: Any
) -> None:
    canned.answers[PATHS[ask]] = told
    with pytest.raises(CloudError, match="an answer of Placement is not understood") as raised:
        ask(asked)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500


@pytest.mark.parametrize("ask", PATHS)
def test_an_answer_that_is_an_error(asked: placement.Placement, canned: Canned, ask: Ask) -> None:
    detail = "not\nfor \x1b[31myou" + 5000 * "!"
    canned.answers[PATHS[ask]] = {"errors": [{"status": 403, "detail": detail}]}
    canned.status[PATHS[ask]] = 403
    with pytest.raises(answer.Refused, match=r"403 to GET .*: not for .31myou!!") as raised:
        ask(asked)
    assert raised.value.status == 403
    assert len(str(raised.value)) < 500 and str(raised.value).isprintable()


@pytest.mark.parametrize("told", [b"", b"\xff", {"errors": []}, {"errors": [{"detail": 7}]}])
def test_an_error_that_does_not_say_why(
    asked: placement.Placement, canned: Canned, told: Any
) -> None:
    canned.answers["/usages"], canned.status["/usages"] = told, 500
    with pytest.raises(CloudError, match=r"Placement answered 500 to GET /usages$"):
        asked.claimed_disk_gb("red")


def test_an_answer_without_end(
    asked: placement.Placement, canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "MAX_BYTES", 3 * 2**20)
    canned.answers["/resource_providers"] = b" " * (4 * 2**20)
    with pytest.raises(CloudError, match="is longer than 3145728 bytes"):
        asked.providers()


def test_an_answer_that_drips(
    asked: placement.Placement, canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "MAX_SECONDS", 0.2)
    canned.answers["/resource_providers"], canned.pause = b" " * (8 * 2**20), 0.1
    with pytest.raises(CloudError, match="takes too long"):
        asked.providers()


def test_nobody_is_there(asked: placement.Placement, canned: Canned) -> None:
    canned.stop()
    with pytest.raises(CloudError) as raised:
        asked.providers()
    assert "\n" not in str(raised.value)

# SPDX-License-Identifier: Apache-2.0
"""Keystones that are not well. What a real one says is in tests/service/test_limits.py."""

from __future__ import annotations

from typing import Any

import pytest
from oslo_config import cfg

from nova_diskaudit import limits
from nova_diskaudit.cloud import CloudError, connection, keystone
from tests.canned import Canned

SERVICES = {"services": [{"id": "ours", "type": "disk-audit"}, {"id": "nova", "type": "compute"}]}
REGISTERED = {
    "id": "r1",
    "service_id": "ours",
    "region_id": None,
    "resource_name": limits.HOST_ALLOCATED,
    "default_limit": 100,
    "description": None,
}
LIMIT = {
    "id": "l1",
    "service_id": "ours",
    "region_id": None,
    "resource_name": limits.HOST_ALLOCATED,
    "resource_limit": 7,
    "project_id": "red",
    "domain_id": None,
    "description": None,
}
ENOUGH: dict[str, Any] = {
    "/v3/services": SERVICES,
    "/v3/registered_limits": {"registered_limits": [REGISTERED], "links": {"next": None}},
    "/v3/limits": {"limits": [LIMIT], "links": {"next": None, "self": "x"}},
    "/v3/limits/model": {"model": {"name": "flat", "description": "x"}},
}


@pytest.fixture
def asked(conf: cfg.ConfigOpts, canned: Canned) -> keystone.Keystone:
    canned.answers |= ENOUGH
    return keystone.Keystone(connection.connect(conf, group="keystone"))


def test_four_questions(asked: keystone.Keystone, canned: Canned) -> None:
    found = asked.limits()
    assert found.by_name[limits.HOST_ALLOCATED].projects == {"red": 7}
    assert [one for one in canned.asked if one != "GET /v3"] == [
        "GET /v3/services",
        "GET /v3/registered_limits",
        "GET /v3/limits?service_id=ours",
        "GET /v3/limits/model",
    ]


@pytest.mark.parametrize(
    "path, told",
    [
        ("/services", b""),
        ("/services", b"<html>"),
        ("/services", {"services": [{"id": "", "type": "disk-audit"}]}),
        ("/services", {"services": [{"id": 65 * "x", "type": "disk-audit"}]}),
        ("/registered_limits", {}),
        ("/registered_limits", {"registered_limits": [REGISTERED | {"default_limit": -2}]}),
        ("/registered_limits", {"registered_limits": [REGISTERED | {"default_limit": 2**31}]}),
        ("/registered_limits", {"registered_limits": [REGISTERED | {"default_limit": "7"}]}),
        ("/registered_limits", {"registered_limits": [REGISTERED | {"default_limit": 1.5}]}),
        ("/registered_limits", {"registered_limits": [REGISTERED], "truncated": "yes"}),
        ("/limits", {"limits": {}}),
        ("/limits", {"limits": [LIMIT | {"resource_limit": None}]}),
        ("/limits", {"limits": [LIMIT | {"project_id": 7}]}),
        ("/limits", b'{"limits": [' + b"[" * 100_000),
        ("/limits/model", {"model": "flat"}),
        ("/limits/model", {"model": {"name": 300 * "x"}}),
    ],
)
def test_an_answer_that_is_not_understood(
    asked: keystone.Keystone, canned: Canned, path: str, told: Any
) -> None:
    canned.answers["/v3" + path] = told
    with pytest.raises(CloudError, match="an answer of Keystone is not understood") as raised:
        asked.limits()
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500


@pytest.mark.parametrize(
    "told, says",
    [
        ([LIMIT, LIMIT | {"id": "l2"}], "two limits disk_host_allocated_gib of red"),
        ([LIMIT | {"domain_id": "d"}], "limit l1 is not of one project or one domain"),
        ([LIMIT | {"project_id": None}], "limit l1 is not of one project or one domain"),
    ],
)
def test_limits_that_contradict_each_other(
    asked: keystone.Keystone, canned: Canned, told: list[Any], says: str
) -> None:
    canned.answers["/v3/limits"] = {"limits": told}
    with pytest.raises(CloudError, match=says):
        asked.limits()


@pytest.mark.parametrize("path", ["/services", "/registered_limits", "/limits"])
def test_an_answer_that_is_cut_short(asked: keystone.Keystone, canned: Canned, path: str) -> None:
    canned.answers["/v3" + path] = ENOUGH["/v3" + path] | {"truncated": True}
    with pytest.raises(CloudError, match=f"cuts its answer to {path} short"):
        asked.limits()


@pytest.mark.parametrize(
    "page",
    [
        {"truncated": True},
        {"links": {"next": "http://elsewhere.example/"}},
        {"links": {"next": "x"}, "truncated": True},
    ],
)
def test_pages_that_lead_nowhere(
    asked: keystone.Keystone, canned: Canned, page: dict[str, Any]
) -> None:
    canned.answers["/v3/projects"] = {"projects": [{"id": "red", "domain_id": "d"}], **page}
    with pytest.raises(CloudError, match="cuts its answer to /projects short"):
        asked.domains()
    assert all("elsewhere" not in one for one in canned.asked)


def test_pages_that_end(asked: keystone.Keystone, canned: Canned) -> None:
    canned.answers["/v3/projects"] = {"projects": [], "truncated": True}
    assert asked.domains() == {}


@pytest.mark.parametrize("status", [401, 403, 500])
def test_an_answer_that_is_an_error(asked: keystone.Keystone, canned: Canned, status: int) -> None:
    canned.answers["/v3/limits"] = {"error": {"code": status, "message": "You are\nnobody."}}
    canned.status["/v3/limits"] = status
    with pytest.raises(CloudError, match=rf"{status} to GET /limits: You are nobody\.$"):
        asked.limits()


def test_another_one_registers_at_the_same_time(asked: keystone.Keystone, canned: Canned) -> None:
    nothing = (200, {"registered_limits": []})
    refused = (409, {"error": {"message": "Duplicate entry"}})
    canned.first["/v3/registered_limits"] = [nothing, refused]
    found, outcome = asked.register("ours", limits.HOST_ALLOCATED, 100)
    assert (found.id, outcome) == ("r1", "unchanged")
    canned.first["/v3/registered_limits"] = [nothing, refused, nothing]
    with pytest.raises(CloudError, match="409 to POST /registered_limits: Duplicate entry"):
        asked.register("ours", limits.HOST_ALLOCATED, 100)


def test_keystone_does_not_say_what_it_made(asked: keystone.Keystone, canned: Canned) -> None:
    canned.answers["/v3/registered_limits"] = {"registered_limits": []}
    with pytest.raises(CloudError, match="does not say what it registered"):
        asked.register("ours", limits.HOST_ALLOCATED, 1)

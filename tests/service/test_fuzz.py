# SPDX-License-Identifier: Apache-2.0
"""schemathesis over the wire: through uWSGI, keystonemiddleware and Keystone, as three callers.

A few examples of each call in a run of all tests; many with ``FUZZ_EXAMPLES=2000``.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from nova_diskaudit.api import routes
from tests.service import faults, wire
from tests.service.stage import Stage

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))


@pytest.mark.parametrize("who", ["reader", "admin", "agent"])
def test_any_request_over_the_wire(stage: Stage, who: str) -> None:
    """No 5xx, nothing but what the document says, nothing written, nothing told to a tenant."""
    token = stage.people.token(who)
    before = faults.content(stage.engine)
    workers = stage.api.workers()
    schema = schemathesis.openapi.from_url(f"{stage.api.url}/v1/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= len(routes.ROUTES) - 1
    for operation in operations:
        _fuzz(stage, operation, {"X-Auth-Token": token}, is_tenant=who == "reader")
    assert faults.content(stage.engine) == before
    assert stage.api.workers() == workers
    assert wire.ask(stage.api.port, "GET", "/healthcheck").status == 200


def _fuzz(stage: Stage, operation: Any, headers: dict[str, Any], *, is_tenant: bool) -> None:
    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def call(case: Any) -> None:
        # The first would ask without a token and expect 401, of calls that are for anybody too; a
        # report has rules that no schema can tell.
        answer = case.call_and_validate(
            headers=headers, excluded_checks=[ignored_auth, positive_data_acceptance], timeout=60
        )
        assert not (is_tenant and b"secret" in answer.content)

    call()

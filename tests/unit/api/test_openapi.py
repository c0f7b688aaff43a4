# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is valid, complete, and true: schemathesis holds the service to it."""

from __future__ import annotations

import json
import os
import pathlib
import re
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from nova_diskaudit.api import openapi, routes
from tests import reports
from tests.unit.api import service
from tests.unit.api.conftest import RED, Client, agent

ALL_ROLES = {"X-Roles": "admin,diskaudit_agent", "X-Project-Id": "ops"}
#: Of each route for each caller; a few in a run of all tests, many by hand.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "6"))


def test_every_route_is_told(client: Client) -> None:
    document = client.simulate_get("/v1/openapi.json").json
    told = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert told == {(route.method, route.path) for route in routes.ROUTES}
    assert document == json.loads(json.dumps(openapi.document()))


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(openapi.document())
    known = openapi.document()["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in known


def test_every_schema_is_one() -> None:
    document = openapi.document()
    jsonschema.Draft202012Validator.check_schema({"$defs": document["components"]["schemas"]})
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"] and operation["description"]
            for parameter in operation["parameters"]:
                jsonschema.Draft202012Validator.check_schema(parameter["schema"])


def _filled(directory: pathlib.Path) -> Any:
    _, application, database = service.made(directory, enrollment=False)
    client = Client(lambda environ, begin: application(environ, begin))
    client.database = database
    instances = tuple(reports.instance(name) for name in ("one", "two"))
    client.report(reports.full(reports.state(instances=instances)))
    service.nova_says(database, reports.uuid_of("one"))
    return application


@pytest.mark.parametrize("headers", [agent() | ALL_ROLES, RED], ids=["all roles", "tenant"])
def test_nothing_but_what_the_document_says(
    tmp_path: pathlib.Path, headers: dict[str, str]
) -> None:
    """Any request, well formed or not: no 500, no answer of another form, no other status."""
    application = _filled(tmp_path)
    schema = schemathesis.openapi.from_wsgi(
        "/v1/openapi.json", lambda environ, begin: application(environ, begin)
    )
    operations = [found.ok() for found in schema.get_all_operations()]
    # Its own document it leaves out.
    assert len(operations) == len(routes.ROUTES) - 1
    for operation in operations:
        _fuzz(operation, headers)


def _fuzz(operation: Any, headers: dict[str, str]) -> None:
    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def call(case: Any) -> None:
        # Tokens are not looked at here: the headers stand for what keystonemiddleware makes of
        # one. And a report has rules that no schema can tell.
        case.call_and_validate(
            headers=headers, excluded_checks=[ignored_auth, positive_data_acceptance]
        )

    call()

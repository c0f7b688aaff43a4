# SPDX-License-Identifier: Apache-2.0
"""The cache of tokens in a real memcached: what it saves, and what it delays.

A service with thousands of agents needs it: each token that is not known is a question to Keystone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nova_diskaudit.store import enrollment
from tests.service import wire
from tests.service.people import AGENT_ROLE
from tests.service.stage import HOST, Stage, settings
from tests.services.api import Api
from tests.services.keystone import Keystone
from tests.services.memcached import Memcached

#: Enough for each of the workers to be asked.
MANY = 20


@pytest.fixture(scope="module")
def api(keystone: Keystone, memcached: Memcached, stage: Stage) -> Iterator[Api]:
    """Over the stage's store, as in production."""
    url = stage.engine.url.render_as_string(hide_password=False)
    with Api(
        settings(keystone, stage.people, url, memcached_servers=memcached.address), processes=2
    ) as some:
        yield some


def ask(api: Api, token: str) -> wire.Answer:
    return wire.ask(api.port, "GET", "/v1/instances?limit=1", token=token)


def test_keystone_is_asked_once_for_a_token(api: Api, stage: Stage, keystone: Keystone) -> None:
    known, unknown = stage.people.reader.token(), stage.people.reader.token()
    assert known != unknown
    assert ask(api, known).status == 200
    keystone.kill()
    try:
        assert {ask(api, known).status for _ in range(MANY)} == {200}
        answer = ask(api, unknown)
        assert (answer.status, answer.code) == (503, "service-unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert ask(api, "rubbish").status in (401, 503)
        assert wire.ask(api.port, "GET", "/").status == 200
    finally:
        keystone.resume()
    assert ask(api, unknown).status == 200


def test_a_revoked_token_is_believed_until_the_cache_forgets_it(api: Api, stage: Stage) -> None:
    """Said so in the documentation. What must end at once, ends in the service's own tables."""
    person = stage.people.tenant(stage.people.project)
    token = person.token()
    assert ask(api, token).status == 200
    stage.people.cloud.revoke_token(token)
    assert ask(api, token).status == 200
    credential = stage.people.cloud.application_credential(stage.people.agent_user, AGENT_ROLE)
    enrollment.enroll(stage.engine, credential.id, HOST, at=0)
    token = credential.token()
    target = f"/v1/hosts/{HOST}/report"
    assert wire.put(api.port, target, stage.report(HOST), token=token).status == 200
    enrollment.revoke(stage.engine, HOST, credential.id)
    for _ in range(MANY):
        answer = wire.put(api.port, target, stage.report(HOST), token=token)
        assert (answer.status, answer.code) == (403, "not-enrolled")


def test_the_cache_may_go_away(api: Api, stage: Stage, memcached: Memcached) -> None:
    """The last one here: for five minutes a worker does not ask a cache that has failed it."""
    token = stage.people.reader.token()
    assert ask(api, token).status == 200
    memcached.kill()
    try:
        assert {ask(api, token).status for _ in range(MANY)} == {200}
    finally:
        memcached.resume()

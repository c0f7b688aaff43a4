# SPDX-License-Identifier: Apache-2.0
"""The page as it is installed: without Keystone under waitress, with a real one under uWSGI."""

from __future__ import annotations

import datetime
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from nova_diskaudit.api import page
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import schema
from tests.service.page import scenery
from tests.service.page.conftest import Invite
from tests.service.stage import HOST, OTHER_HOST, Stage
from tests.services.api import LocalApi
from tests.services.sqlite import Sqlite


@pytest.fixture(scope="module")
def local(sqlite: Sqlite) -> Iterator[LocalApi]:
    """``nova-diskaudit-api`` on one machine, without Keystone and Nova."""
    url = sqlite.create_database("page")
    engine = store_engine.create(url)
    schema.sync(engine)
    scenery.fill(engine, datetime.datetime.now(datetime.UTC), nova=False)
    engine.dispose()
    with LocalApi({"api": {"auth_strategy": "noauth"}, "database": {"connection": url}}) as api:
        yield api


def test_without_keystone_nobody_is_asked_for_a_token(local: LocalApi, invite: Invite) -> None:
    visitor = invite(local.url, refused=frozenset())
    visitor.open()
    visitor.see("Hosts")
    assert visitor.page.locator("#token, button:text-is('Sign out')").count() == 0
    assert "this machine, without Keystone" in visitor.text()
    assert len(visitor.rows()) == 4
    visitor.go("#/projects", "Projects")
    assert {row["Project"] for row in visitor.rows()} == {
        scenery.SHOP,
        scenery.LAB,
        scenery.SMALL,
    }
    visitor.go(f"#/instances/{scenery.uuid('database')}", scenery.domain("database"))
    assert "Nova is not asked here" in visitor.text()
    assert visitor.bar("Held")["text"] == "210 GiB"
    visitor.go("#/instances", "Instances")
    assert "unverified" not in visitor.text()  # all are, and that is said once


def test_without_keystone_it_is_for_this_machine_alone(local: LocalApi, invite: Invite) -> None:
    """A page of elsewhere that calls itself 127.0.0.1 gets nothing, not even this page."""
    request = urllib.request.Request(f"{local.url}/page", headers={"Host": "evil.example.org"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 403


@pytest.mark.parametrize("who", ["admin", "auditor"])
def test_an_operator_by_a_token_of_keystone(stage: Stage, invite: Invite, who: str) -> None:
    visitor = invite(stage.api.url)
    visitor.open()
    visitor.see("Sign in")
    visitor.sign_in(str(stage.people.token(who)), expect="Hosts")
    assert {row["Host"].split()[0] for row in visitor.rows()} >= {HOST, OTHER_HOST}
    visitor.go(f"#/instances/{stage.mine[0]}", f"server of {stage.people.project}")
    assert HOST in visitor.text()


@pytest.mark.parametrize("who", ["reader", "member"])
def test_a_tenant_by_a_token_of_keystone(stage: Stage, invite: Invite, who: str) -> None:
    visitor = invite(stage.api.url)
    visitor.open(f"#/instances/{stage.mine[0]}")
    visitor.sign_in(str(stage.people.token(who)), expect=f"server of {stage.people.project}")
    for address, title in (
        ("#/instances", "Instances"),
        ("#/findings", "Findings"),
        ("#/", "Usage"),
    ):
        visitor.go(address, title)
        assert "secret" not in visitor.text()
    assert stage.people.project in visitor.text()
    visitor.go("#/instances", "Instances")
    titles = visitor.page.locator("tbody th a").evaluate_all("all => all.map(one => one.title)")
    assert sorted(titles) == list(stage.mine)
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.see("Sign in")


@pytest.mark.parametrize("who", ["garbage", "forger", "stranger", "service", "agent"])
def test_who_has_no_business_here_stays_outside(stage: Stage, invite: Invite, who: str) -> None:
    visitor = invite(stage.api.url)
    visitor.open()
    visitor.see("Sign in")
    visitor.sign_in(str(stage.people.token(who)))
    alert = visitor.page.get_by_role("alert")
    alert.get_by_text("token").wait_for()
    visitor.see("Sign in")


@pytest.mark.parametrize("name", page.FILES)
def test_both_servers_send_the_files_and_answer_304(
    local: LocalApi, stage: Stage, name: str
) -> None:
    path = "page" if name == "index.html" else f"page/{name}"
    for api in (local, stage.api):
        # With a bad token beside it as well: it is not looked at.
        request = urllib.request.Request(f"{api.url}/{path}", headers={"X-Auth-Token": "bad"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.read().decode() == page.FILES[name].text
            assert answer.headers["Content-Type"] == page.FILES[name].content_type
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            request.add_header("If-None-Match", answer.headers["ETag"])
        with pytest.raises(urllib.error.HTTPError) as unchanged:
            urllib.request.urlopen(request, timeout=10)
        assert unchanged.value.code == 304

# SPDX-License-Identifier: Apache-2.0
"""The page's files: what a browser is told about them, and what must not be in them.

What it looks like and does is tried in a real browser, in ``tests/service/page``.
"""

from __future__ import annotations

import re

import pytest

from nova_diskaudit.api import page
from tests.unit.api.conftest import Client

PATHS = {
    "/page" if name == "index.html" else f"/page/{name}": file for name, file in page.FILES.items()
}
SCRIPTS = {name: file.text for name, file in page.FILES.items() if name.endswith(".js")}
HTML = page.FILES["index.html"].text
CSS = page.FILES["style.css"].text


@pytest.mark.parametrize("path", PATHS)
def test_every_file_is_served_to_anybody_and_nothing_may_be_added_to_it(
    client: Client, path: str
) -> None:
    answer = client.simulate_get(path)
    assert (answer.status_code, answer.text) == (200, PATHS[path].text)
    assert answer.headers["content-type"] == PATHS[path].content_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-frame-options"] == "DENY"
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert policy.pop("default-src") == "'none'"
    for name in ("base-uri", "form-action", "frame-ancestors", "trusted-types"):
        assert policy.pop(name) == "'none'"
    assert policy == dict.fromkeys(("script-src", "style-src", "img-src", "connect-src"), "'self'")


@pytest.mark.parametrize("path", PATHS)
def test_what_a_browser_has_is_not_sent_again(client: Client, path: str) -> None:
    first = client.simulate_get(path)
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.simulate_get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.text, again.headers["etag"]) == (304, "", tag)
        assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert client.simulate_get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_tags_differ_as_files_do() -> None:
    assert len({file.tag for file in page.FILES.values()}) == len(page.FILES)


@pytest.mark.parametrize(
    "name", ["none.js", "index.html", "__init__.py", "..%2fapp.py", "app.js.map", "APP.JS"]
)
def test_nothing_else_is_served(client: Client, name: str) -> None:
    answer = client.simulate_get(f"/page/{name}")
    assert answer.status_code == 404
    assert answer.json["errors"][0]["request_id"] == answer.headers["x-openstack-request-id"]


def test_the_page_names_all_its_files_and_no_other(client: Client) -> None:
    named = {one.removeprefix("page/") for one in re.findall(r'(?:href|src)="(page/[^"]+)"', HTML)}
    assert named == set(page.FILES) - {"index.html"}
    for name, text in SCRIPTS.items():
        for imported in re.findall(r'from "([^"]+)"', text):
            assert imported.removeprefix("./") in SCRIPTS, name


def test_discovery_tells_people_where_it_is(client: Client) -> None:
    (version,) = client.see("/")["versions"]
    assert {"rel": "alternate", "href": "page"} in version["links"]
    assert version["links"][0] == {"rel": "self", "href": ""}


def test_it_asks_nobody_else() -> None:
    for name, file in page.FILES.items():
        addresses = re.findall(r"(?:https?:)?//[a-z][^\s\"']*", file.text)
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, name
    assert "@import" not in CSS and "url(" not in CSS


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_text_becomes_markup_or_program(name: str) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|createContextual"
        r"|\beval\b|new Function|setTimeout\(\s*[\"'`]|localStorage|sessionStorage|indexedDB"
        r"|document\.cookie|postMessage|window\.open"
    )
    assert not re.search(forbidden, SCRIPTS[name])


def test_the_markup_has_no_program_and_no_styles_in_it() -> None:
    assert not re.search(
        r"\son\w+=|\sstyle=|<style|javascript:|<script(?! type=\"module\" src=)", HTML
    )


def test_it_is_small() -> None:
    """No browser waits for it: all of it unpacked is below the size of a photograph."""
    assert sum(len(file.text.encode()) for file in page.FILES.values()) < 120_000

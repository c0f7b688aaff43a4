# SPDX-License-Identifier: Apache-2.0
"""How the page behaves: tokens, trouble, hostile words, the keyboard, narrow windows, the dark."""

from __future__ import annotations

import datetime
import itertools
import pathlib
import time
from typing import Any

import pytest
from axe_playwright_python import sync_playwright as axe
from playwright import sync_api

from nova_diskaudit import text
from nova_diskaudit.store import report as store_report
from tests import reports
from tests.service.page import house as houses
from tests.service.page import scenery
from tests.service.page.conftest import Invite
from tests.service.page.house import House
from tests.service.page.visitor import Browser, Visitor

#: Every view of an operator and of a tenant, by its address.
VIEWS = {
    "hosts": "#/",
    "a host": "#/hosts/compute-2.example.org",
    "a host with a dead storage": "#/hosts/compute-3.example.org",
    "projects": "#/projects",
    "a project": f"#/projects/{scenery.SHOP}",
    "instances": "#/instances",
    "an instance": f"#/instances/{scenery.uuid('database')}",
    "little is known": f"#/instances/{scenery.uuid('scratch')}",
    "only bounds": f"#/instances/{scenery.uuid('training')}",
    "elsewhere as well": f"#/instances/{scenery.uuid('moved')}",
    "hostile": f"#/instances/{scenery.uuid('hostile')}",
    "findings": "#/findings",
    "nothing": "#/of/this/kind",
}


def at(visitor: Visitor, address: str) -> None:
    """Go there, whatever its title is."""
    visitor.page.evaluate("address => { location.hash = address }", address)
    visitor.page.wait_for_function(
        "address => location.hash === address && !document.querySelector('main[aria-busy]') "
        "&& document.querySelector('main h1') === document.activeElement",
        arg=address,
    )


# --- tokens -----------------------------------------------------------------------------------


def test_a_token_is_kept_in_memory_and_sent_nowhere_else(guest: Invite) -> None:
    operator = guest(houses.OPERATOR)
    at(operator, "#/instances")
    kept = operator.page.evaluate(
        "JSON.stringify([localStorage, sessionStorage, document.cookie, location.href, "
        "history.state, document.documentElement.outerHTML])"
    )
    assert houses.OPERATOR not in kept
    assert operator.page.context.cookies() == []
    sent = {
        request.url.partition("/v1/")[1]
        for request in operator.asked
        if "x-auth-token" in request.headers
    }
    assert sent == {"/v1/"}
    assert all(houses.OPERATOR not in request.url for request in operator.asked)
    assert {request.method for request in operator.asked} == {"GET"}
    operator.page.reload()
    operator.see("Sign in")
    assert operator.page.url.endswith("#/instances")


def test_signing_out_forgets(operator: Visitor) -> None:
    operator.page.get_by_role("button", name="Sign out").click()
    operator.see("Sign in")
    assert operator.page.locator("#nav a").count() == 0
    assert "compute-" not in operator.page.content()
    operator.asked.clear()
    operator.page.evaluate("location.hash = '#/projects'")
    operator.page.wait_for_timeout(300)
    operator.see("Sign in")
    assert [one.url for one in operator.asked if "/v1/" in one.url] == []


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("short", "This does not look like a token"),
        ("a token that has spaces in it", "This does not look like a token"),
        ("gAAAAAB" + "x" * 300, "Keystone does not know this token"),
        (houses.STRANGER, "This token may see nothing here"),
    ],
)
def test_a_token_that_helps_nobody(house: House, invite: Invite, token: str, words: str) -> None:
    visitor = invite(house.url)
    visitor.open()
    visitor.see("Sign in")
    visitor.sign_in(token)
    sync_api.expect(visitor.page.get_by_role("alert")).to_contain_text(words)
    assert visitor.page.evaluate("document.activeElement.id") == "token"
    visitor.sign_in(houses.TENANT, expect="Usage")


def test_an_expired_token_is_asked_for_again_and_one_is_where_one_was(
    house: House, guest: Invite
) -> None:
    operator = guest(houses.OPERATOR)
    at(operator, "#/projects")
    house.before = _refuse(401, "unauthorized")
    operator.page.evaluate("location.hash = '#/instances'")
    operator.see("Sign in")
    assert "The token is not valid any more." in operator.text()
    house.before = None
    operator.sign_in(houses.OPERATOR, expect="Instances")


# --- trouble ----------------------------------------------------------------------------------


def _refuse(status: int, code: str, *, html: bool = False) -> Any:
    """An answer of the API that is none, or of something before it."""

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if not environ["PATH_INFO"].startswith("/v1/"):
            return None
        body = (
            f'{{"errors": [{{"status": {status}, "code": "{code}", "title": "Out of order", '
            f'"detail": "for <b>once</b>", "request_id": "req-1234"}}]}}'
        )
        kind = "text/html" if html else "application/json"
        start_response(f"{status} No", [("Content-Type", kind)])
        return [b"<html>Bad gateway</html>" if html else body.encode()]

    return answer


def test_an_error_is_told_with_its_request(house: House, guest: Invite) -> None:
    operator = guest(houses.OPERATOR, refused=frozenset({401, 503}))
    house.before = _refuse(503, "database-unavailable")
    operator.page.get_by_role("link", name="Projects").click()
    operator.see("No answer")
    alert = operator.page.get_by_role("alert").inner_text()
    assert "Out of order" in alert and "for <b>once</b>" in alert
    assert "Status 503, database-unavailable, request req-1234" in alert
    house.before = None
    operator.page.get_by_role("button", name="Try again").click()
    operator.see("Projects")


def test_what_is_not_the_service_is_not_believed(house: House, guest: Invite) -> None:
    operator = guest(houses.OPERATOR, refused=frozenset({401, 502}))
    house.before = _refuse(502, "", html=True)
    operator.page.get_by_role("link", name="Projects").click()
    operator.see("No answer")
    assert "Something on the way answered instead, with status 502." in operator.text()


def test_silence_is_told(guest: Invite) -> None:
    operator = guest(houses.OPERATOR)
    operator.page.route("**/v1/**", lambda route: route.abort("connectionrefused"))
    operator.page.get_by_role("link", name="Projects").click()
    operator.see("No answer")
    assert "The service does not answer" in operator.text()
    assert len(operator.complaints) == 1 and "ERR_CONNECTION_REFUSED" in operator.complaints.pop()


def test_the_first_question_may_fail_as_well(house: House, invite: Invite) -> None:
    visitor = invite(house.url, refused=frozenset({401, 503}))
    house.before = _refuse(503, "database-unavailable")
    visitor.open()
    visitor.see("No answer")
    house.before = None
    visitor.page.get_by_role("button", name="Try again").click()
    visitor.see("Sign in")


def test_waiting_is_shown_and_who_goes_on_is_not_called_back(house: House, guest: Invite) -> None:
    operator = guest(houses.OPERATOR)

    def slow(environ: dict[str, Any], _: Any) -> Any:
        if environ["PATH_INFO"] == "/v1/usages":
            time.sleep(1.5)

    house.before = slow
    operator.page.get_by_role("link", name="Projects").click()
    sync_api.expect(operator.page.locator(".loading")).to_be_visible()
    sync_api.expect(operator.page.locator("main")).to_have_attribute("aria-busy", "true")
    operator.page.get_by_role("link", name="Findings", exact=True).click()
    operator.see("Findings")
    operator.page.wait_for_timeout(2000)
    operator.see("Findings")


def test_the_first_question_may_take_its_time(house: House, invite: Invite) -> None:
    visitor = invite(house.url)

    def slow(environ: dict[str, Any], _: Any) -> Any:
        if environ["PATH_INFO"] == "/v1/hosts":
            time.sleep(1.5)

    house.before = slow
    visitor.open()
    sync_api.expect(visitor.page.locator(".loading")).to_be_visible()
    visitor.see("Sign in")


def test_who_reads_again_stays_where_they_are(operator: Visitor) -> None:
    at(operator, "#/instances")
    again = operator.page.get_by_role("button", name="Read again")
    before = len(operator.asked)
    again.focus()
    again.press("Enter")
    operator.page.wait_for_function("document.activeElement.innerText === 'Read again'")
    operator.see("Instances")
    assert len(operator.asked) > before


def test_ages_are_the_service_s_and_not_the_visitor_s(house: House, invite: Invite) -> None:
    visitor = invite(house.url)
    visitor.page.clock.install(time=houses.NOW + datetime.timedelta(hours=7))
    visitor.open()
    visitor.sign_in(houses.OPERATOR, expect="Hosts")
    assert visitor.rows()[0]["Reported"] == "2 min ago"


def test_nothing_was_reported_yet(invite: Invite, tmp_path: pathlib.Path) -> None:
    with houses.opened(tmp_path, empty=True) as house:
        visitor = invite(house.url)
        visitor.open()
        visitor.sign_in(houses.OPERATOR, expect="Hosts")
        assert "No host has reported yet." in visitor.text()
        for address, words in (
            ("#/projects", "No project is known yet."),
            ("#/instances", "No instance has been reported yet."),
            ("#/findings", "Nothing that deserves attention was found."),
            ("#/projects/nobody", "No instance of this project is known"),
        ):
            at(visitor, address)
            assert words in visitor.text()
            assert visitor.page.locator("main table, main .bar").count() == 0


def test_long_lists_come_in_pages(invite: Invite, tmp_path: pathlib.Path) -> None:
    with houses.opened(tmp_path, empty=True) as house:
        for number in range(53):
            one = reports.instance(f"page-{number}")
            report = reports.full(reports.state(f"host-{number:03}", (one,), as_of=houses.NOW))
            store_report.put(house.engine, report, now=houses.NOW, takeover_after_seconds=900)
        visitor = invite(house.url)
        visitor.open()
        visitor.sign_in(houses.OPERATOR, expect="Hosts")
        assert "50 hosts on this page" in visitor.text()
        first = visitor.rows()
        visitor.page.get_by_role("link", name="Next page").click()
        sync_api.expect(visitor.page.locator("tbody tr")).to_have_count(3)
        assert "This is the last page" in visitor.text()
        assert [row["Host"] for row in visitor.rows()] == ["host-050", "host-051", "host-052"]
        visitor.page.reload()
        visitor.sign_in(houses.OPERATOR, expect="Hosts")
        assert len(visitor.rows()) == 3
        visitor.page.get_by_role("link", name="First page").click()
        sync_api.expect(visitor.page.locator("tbody tr")).to_have_count(50)
        assert visitor.rows() == first
        visitor.page.go_back()
        sync_api.expect(visitor.page.locator("tbody tr")).to_have_count(3)
        at(visitor, "#/instances")
        seen = {row["Instance"] for row in visitor.rows()}
        visitor.page.get_by_role("link", name="Next page").click()
        sync_api.expect(visitor.page.locator("tbody tr")).to_have_count(3)
        assert len(seen) <= 50 and "marker=" in visitor.page.url


# --- hostile words ----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 320])
def test_hostile_names_are_words_and_nothing_more(guest: Invite, width: int) -> None:
    operator = guest(houses.OPERATOR, width=width)
    for address in (
        VIEWS["hostile"],
        "#/instances",
        "#/hosts/compute-3.example.org",
        "#/findings?severity=warning",
    ):
        at(operator, address)
        for summary in operator.page.locator("summary").all():
            summary.click()
        assert operator.page.evaluate("window.harmed") is None
        assert operator.page.locator("main :is(img, script, b, iframe, [onerror])").count() == 0
        hidden = operator.page.evaluate(
            "/[\\u200b\\u202a-\\u202e\\u2066-\\u2069]/u.test(document.documentElement.outerHTML)"
        )
        assert not hidden
        assert operator.overhang() <= 0
    at(operator, VIEWS["hostile"])
    assert "<img src=x onerror=" in operator.text()
    assert "\\u{202e}gpj.exe" in operator.text()
    assert "\\u{202e}" in operator.page.title()
    links = operator.page.locator("main a").evaluate_all(
        "all => all.map(a => a.getAttribute('href'))"
    )
    assert links and all(link.startswith("#/") for link in links)


@pytest.mark.parametrize(
    "hash",
    [
        "#/hosts/%E0%A4%A",
        "#/instances?sort=%3Cscript%3E&host=%3Cimg%20src=x%20onerror=alert(1)%3E",
        "#/findings?code=%3Cb%3E",
        "#/instances/%2e%2e%2f%2e%2e%2fv1%2fhosts",
        "#main",
        "#/projects/__proto__?__proto__=1&constructor=2",
    ],
)
def test_an_address_may_be_anybody_s(guest: Invite, hash: str) -> None:
    operator = guest(houses.OPERATOR, refused=frozenset({400, 401, 404}))
    operator.page.evaluate("address => { location.hash = address }", hash)
    operator.page.wait_for_timeout(300)
    sync_api.expect(operator.page.locator("main[aria-busy]")).to_have_count(0)
    assert operator.page.locator("main h1").count() == 1
    assert operator.page.locator("main :is(img, script, b)").count() == 0
    assert all(
        request.url.startswith((f"{operator.url}/v1/", f"{operator.url}/page"))
        for request in operator.asked
    )


@pytest.mark.parametrize(
    "attack",
    [
        "document.body.innerHTML = '<img src=x>'",
        "document.body.append(Object.assign(document.createElement('script'), {text: 'harmed=1'}))",
        "document.body.setAttribute('onclick', 'window.harmed=1'); document.body.click()",
        "fetch('http://127.0.0.2:9/').catch(() => null)",
        "document.head.append(Object.assign(document.createElement('style'), {innerText: 'a{}'}))",
        "document.body.append(Object.assign(document.createElement('iframe'), {src: '/page'}))",
    ],
)
def test_the_policy_is_the_second_line(operator: Visitor, attack: str) -> None:
    """As if something of ours had been fooled; and a visitor does notice what breaks the policy."""
    operator.page.evaluate(f"() => {{ try {{ {attack} }} catch (error) {{}} }}")
    operator.page.wait_for_timeout(200)
    assert operator.page.evaluate("window.harmed") is None
    assert any("olic" in one for one in operator.complaints)
    operator.complaints.clear()


def test_no_other_page_frames_it(house: House, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto("about:blank")
    page.evaluate(
        "url => document.body.append(Object.assign(document.createElement('iframe'), {src: url}))",
        f"{house.url}/page",
    )
    page.wait_for_timeout(500)
    assert all("Sign in" not in frame.content() for frame in page.frames)
    context.close()


# --- the keyboard -----------------------------------------------------------------------------

_FOCUS = """() => {
    const one = document.activeElement;
    if (one === document.body) return null;
    const box = one.getBoundingClientRect();
    const style = getComputedStyle(one);
    const all = [...document.querySelectorAll('*')];
    return {
        order: all.indexOf(one),
        name: (one.getAttribute('aria-label') ?? one.innerText ?? '').trim().slice(0, 60),
        visible: box.width > 0 && box.height > 0 && box.bottom > 0 && box.right > 0
            && box.top < innerHeight && box.left < innerWidth,
        outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
    };
}"""
_REACHABLE = """() => [...document.querySelectorAll(
    'a[href], button, input, select, summary, [tabindex="0"]')]
    .filter(one => one.checkVisibility({visibilityProperty: true})).length"""


@pytest.mark.parametrize(
    ("view", "width"),
    [*((view, 1280) for view in VIEWS), *((view, 320) for view in ("instances", "an instance"))],
)
def test_everything_is_reached_by_the_keyboard_in_order_and_seen(
    guest: Invite, view: str, width: int
) -> None:
    operator = guest(houses.OPERATOR, width=width)
    at(operator, VIEWS[view])
    operator.page.evaluate("document.querySelector('.skip').focus({focusVisible: true})")
    reachable = operator.page.evaluate(_REACHABLE)
    walked: list[dict[str, Any]] = []
    for number in range(reachable):
        if number:
            operator.page.keyboard.press("Tab")
        step = operator.page.evaluate(_FOCUS)
        assert step is not None, walked
        assert step["visible"] and step["outlined"], step
        walked.append(step)
    assert walked[0]["name"] == "Skip to the content"
    order = [step["order"] for step in walked]
    assert order == sorted(set(order))


def test_a_visit_without_a_mouse(house: House, invite: Invite) -> None:
    visitor = invite(house.url)
    press = visitor.page.keyboard.press
    visitor.open()
    visitor.see("Sign in")
    visitor.page.keyboard.type(houses.OPERATOR)  # it has the focus
    press("Enter")
    visitor.see("Hosts")
    assert visitor.page.evaluate("document.activeElement.tagName") == "H1"
    press("Shift+Tab")  # from the title back to the end of the header
    assert visitor.page.evaluate("document.activeElement.innerText") == "Sign out"
    visitor.page.evaluate("document.querySelector('.skip').focus()")
    press("Enter")  # skips to the content, without leaving the view
    assert visitor.page.evaluate("document.activeElement.tagName") == "H1"
    press("Tab")
    press("Tab")
    assert visitor.page.evaluate("document.activeElement.innerText") == "compute-1.example.org"
    press("Enter")
    visitor.see("compute-1.example.org")
    assert visitor.page.evaluate("document.activeElement.tagName") == "H1"
    assert visitor.page.inner_text("#live").startswith("compute-1.example.org")
    visitor.page.go_back()
    visitor.see("Hosts")


# --- who looks, and with what -----------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("exactly", [False, True], ids=["readable", "exact"])
def test_no_window_is_too_narrow(guest: Invite, width: int, exactly: bool) -> None:
    operator = guest(houses.OPERATOR, width=width)
    if exactly:
        operator.page.get_by_label("Exact bytes").check()
        at(operator, "#/instances")
    for view, address in VIEWS.items():
        at(operator, address)
        for summary in operator.page.locator("summary").all():
            summary.click()
        assert operator.overhang() <= 0, view
        # What is wider than its frame can be scrolled by the keyboard.
        operator.page.wait_for_function(
            """() => [...document.querySelectorAll('.scroll')].every(one =>
                (one.scrollWidth > one.clientWidth + 1) === (one.tabIndex === 0))"""
        )
        wide = operator.page.locator(".scroll[tabindex]").evaluate_all(
            "all => all.map(one => one.ariaLabel)"
        )
        if not exactly:
            assert set(wide) <= {"The numbers of the chart"}, view


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_found_by_axe(guest: Invite, scheme: str, width: int) -> None:
    operator = guest(houses.OPERATOR, width=width, scheme=scheme)
    for view, address in VIEWS.items():
        at(operator, address)
        _examine(operator, view)
    operator.page.get_by_role("button", name="Sign out").click()
    operator.see("Sign in")
    _examine(operator, "sign in")


def _examine(visitor: Visitor, view: str) -> None:
    found = axe.Axe().run(visitor.page).response["violations"]
    told = [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found]
    assert told == [], view


def test_the_structure_can_be_walked_by_headings_and_landmarks(operator: Visitor) -> None:
    for view, address in VIEWS.items():
        at(operator, address)
        levels = operator.page.locator("h1, h2, h3, h4").evaluate_all(
            "all => all.map(one => Number(one.tagName[1]))"
        )
        assert levels.count(1) == 1, view
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        for role in ("banner", "main"):
            assert operator.page.get_by_role(role).count() == 1
        assert operator.page.get_by_role("navigation", name="Main").count() == 1
        assert operator.page.title().endswith(" - nova-diskaudit")


def test_the_dark_is_dark_and_the_light_is_light(guest: Invite) -> None:
    ground = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    assert guest(houses.OPERATOR, scheme="light").page.evaluate(ground) > 200
    assert guest(houses.OPERATOR, scheme="dark").page.evaluate(ground) < 60


def test_who_wants_no_motion_gets_none(guest: Invite) -> None:
    moving = """() => [...document.querySelectorAll('*')].filter(one => {
        const style = getComputedStyle(one);
        return style.animationName !== 'none'
            || style.transitionDuration.split(', ').some(time => parseFloat(time) > 0);
    }).length"""
    assert guest(houses.OPERATOR).page.evaluate(moving) > 0
    assert guest(houses.OPERATOR, reduced_motion="reduce").page.evaluate(moving) == 0


def test_a_link_from_elsewhere_leads_to_its_view(house: House, invite: Invite) -> None:
    visitor = invite(house.url)
    visitor.open(f"#/instances/{scenery.uuid('mail')}")
    visitor.sign_in(houses.OPERATOR, expect="mail")


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "readable", "exact"),
    [
        (0, "0 B", "0 bytes"),
        (1, "1 B", "1 byte"),
        (1023, "1023 B", "1,023 bytes"),
        (1024, "1.00 KiB", "1,024 bytes"),
        (10 * 2**20 - 1, "10.0 MiB", "10,485,759 bytes"),
        (2**30 - 1, "1.00 GiB", "1,073,741,823 bytes"),
        (2**53 - 1, "8.00 PiB", "9,007,199,254,740,991 bytes"),
        (2**63 - 1, "8.00 EiB", "about 9,223,372,036,854,776,000 bytes"),
        (-5, "-5 B", "-5 bytes"),
        (-3 * 2**30, "-3.00 GiB", "-3,221,225,472 bytes"),
    ],
)
def test_sizes_are_those_of_the_command_line(
    operator: Visitor, count: int, readable: str, exact: str
) -> None:
    told = operator.page.evaluate(
        "count => import('/page/words.js').then(words => "
        "[words.readable(JSON.parse(count)), words.exact(JSON.parse(count))])",
        str(count),
    )
    assert told == [readable, exact]
    assert text.size(count) == readable

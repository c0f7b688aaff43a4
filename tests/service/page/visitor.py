# SPDX-License-Identifier: Apache-2.0
"""Somebody who looks at the page with a real browser, and complains.

The browser is Debian's Chromium, driven by Playwright, which brings its own driver and would like
to download a browser of its own: it is never asked to. Whatever the browser says in its console,
each breach of the page's policy, and each request to another origin is a complaint.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator

from playwright import sync_api

Browser = sync_api.Browser

#: What a browser says by itself about an answer that is none.
_REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; each visitor has a profile of its own in it."""
    program = shutil.which("chromium")
    assert program is not None, "Chromium is not installed (Debian: chromium)"
    with sync_api.sync_playwright() as playwright:
        # Its sandbox cannot be had by root.
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-lcd-text"]
        )
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """One tab.

    :param url: of the service.
    :param refused: answers that may be refusals, by their status.
    """

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        width: int = 1280,
        scheme: sync_api.ColorScheme = "light",
        reduced_motion: sync_api.ReducedMotion = "no-preference",
        refused: frozenset[int] = frozenset({401, 403}),
    ) -> None:
        self.url = url
        self.refused = refused
        self.complaints: list[str] = []
        #: (method, address, headers) of all that was asked
        self.asked: list[sync_api.Request] = []
        self._context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
            reduced_motion=reduced_motion,
            locale="de-DE",
            timezone_id="Asia/Kolkata",
        )
        self.page = self._context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self._request)
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', event => "
            "console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI))"
        )

    def close(self) -> None:
        self._context.close()

    def _console(self, message: sync_api.ConsoleMessage) -> None:
        refused = _REFUSED.match(message.text)
        if not (refused and int(refused.group(1)) in self.refused):
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, request: sync_api.Request) -> None:
        self.asked.append(request)
        if not request.url.startswith(f"{self.url}/"):
            self.complaints.append(f"asked another origin: {request.url}")

    # --- what one does ------------------------------------------------------------------------

    def open(self, address: str = "#/") -> None:
        """Load the page."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/page{address}")

    def sign_in(self, token: str, *, expect: str | None = None) -> None:
        self.page.fill("#token", token)
        self.page.keyboard.press("Enter")
        if expect is not None:
            self.see(expect)

    def go(self, address: str, expect: str) -> None:
        """To another view, until it is there."""
        self.page.evaluate("address => { location.hash = address }", address)
        self.see(expect)

    def see(self, title: str) -> None:
        """Wait for a view by the title that it has."""
        sync_api.expect(self.page.locator("h1")).to_have_text(title)
        sync_api.expect(self.page.locator("main[aria-busy]")).to_have_count(0)

    # --- what one sees ------------------------------------------------------------------------

    def text(self) -> str:
        """All that can be read."""
        return re.sub(r"\s+", " ", self.page.inner_text("body"))

    def rows(self) -> list[dict[str, str]]:
        """The first table, by the titles of its columns."""
        found: list[dict[str, str]] = self.page.locator("main table").first.evaluate(
            """table => [...table.tBodies[0].rows].map(row => Object.fromEntries(
                [...row.cells].map(cell => [cell.dataset.title, cell.innerText.trim()
                    .replace(/\\s+/g, ' ')])))"""
        )
        return found

    def bar(self, label: str, *, within: str = "main") -> dict[str, object]:
        """One row of bars: what is written, and where its parts are, as shares of the promised
        frame."""
        found: dict[str, object] = self.page.locator(within).first.evaluate(
            """(element, label) => {
                const row = [...element.querySelectorAll('.bar-row')]
                    .find(one => one.querySelector('dt').innerText === label);
                const box = name => row.querySelector(`.bar > .${name}`)?.getBoundingClientRect();
                const frame = box('frame');
                const at = x => frame ? (x - frame.left) / frame.width : null;
                const span = name => {
                    const one = box(name);
                    return one ? [at(one.left), at(one.right)] : null;
                };
                const tick = box('tick');
                return {
                    text: row.querySelector('dd').innerText.replace(/\\s+/g, ' ').trim(),
                    has_bar: row.querySelector('.bar') !== null,
                    said: row.querySelector('.bar')?.getAttribute('aria-label') ?? null,
                    solid: span('solid'), hatched: span('hatched'),
                    tick: tick ? at((tick.left + tick.right) / 2) : null,
                };
            }""",
            label,
        )
        return found

    def overhang(self) -> int:
        """Pixels by which the page is wider than the window."""
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return wider

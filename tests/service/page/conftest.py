# SPDX-License-Identifier: Apache-2.0
"""A browser for all tests of the page, and visitors who must have nothing to complain about."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.service.page import house as houses
from tests.service.page.house import House
from tests.service.page.visitor import Browser, Visitor, chromium

Invite = Callable[..., Visitor]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Not longer than this package: other tests would find Playwright's event loop in their thread.
    with chromium() as found:
        yield found


@pytest.fixture(scope="package")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory: pathlib.Path = tmp_path_factory.mktemp("house")
    with houses.opened(directory, hours=48) as found:
        yield found


@pytest.fixture
def house(standing: House) -> Iterator[House]:
    """It is well again when the test ends."""
    yield standing
    standing.before = None


@pytest.fixture
def invite(browser: Browser) -> Iterator[Invite]:
    """Visitors of a service, by its URL."""
    invited: list[Visitor] = []

    def make(url: str, **options: Any) -> Visitor:
        invited.append(Visitor(browser, url, **options))
        return invited[-1]

    yield make
    for visitor in invited:
        visitor.close()
    assert [one for visitor in invited for one in visitor.complaints] == []


@pytest.fixture
def guest(house: House, invite: Invite) -> Invite:
    """Visitors of the house, signed in by a token and looking at what they see first."""

    def make(token: str, **options: Any) -> Visitor:
        visitor = invite(house.url, **options)
        visitor.open()
        visitor.sign_in(token, expect="Hosts" if token == houses.OPERATOR else "Usage")
        return visitor

    return make


@pytest.fixture
def operator(guest: Invite) -> Visitor:
    return guest(houses.OPERATOR)


@pytest.fixture
def tenant(guest: Invite) -> Visitor:
    return guest(houses.TENANT)

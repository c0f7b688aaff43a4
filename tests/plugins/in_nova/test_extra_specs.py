# SPDX-License-Identifier: Apache-2.0
"""The flavor extra specs that Nova's API takes, found by their entry point."""

from __future__ import annotations

import pytest
from nova import exception
from nova.api.validation.extra_specs import validators


@pytest.mark.parametrize("word", ["required", "optional", "off"])
def test_what_is_known_is_taken(word: str) -> None:
    validators.validate("diskaudit:guest_stats", word)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("diskaudit:guest_stats", "maybe"),
        ("diskaudit:guest_stats", "OFF"),
        ("diskaudit:guest_stats", ""),
        ("diskaudit:guest_stat", "off"),
        ("diskaudit:", "off"),
    ],
)
def test_what_is_not_known_is_refused(name: str, value: str) -> None:
    with pytest.raises(exception.ValidationError):
        validators.validate(name, value)


def test_others_are_left_alone() -> None:
    validators.validate("diskaudit", "anything")
    validators.validate("vendor:guest_stats", "anything")

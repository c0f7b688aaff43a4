# SPDX-License-Identifier: Apache-2.0
"""The catalogue names scenarios that exist, and the rows that it gives up say why."""

from tests.lab import agents, catalogue, guests, test_changes, test_rows

NAMES = [
    case.name
    for cases in (
        test_rows.CASES,
        guests.SCENARIOS,
        agents.SCENARIOS,
        test_changes.CASES,
    )
    for case in cases
]


def test_every_scenario_of_the_catalogue_exists() -> None:
    named = {name for entry in catalogue.entries() for name in entry.scenarios}
    assert named <= set(NAMES)


def test_every_row_has_a_scenario_or_a_reason() -> None:
    for entry in catalogue.entries():
        assert bool(entry.scenarios) != bool(entry.why_not)


def test_no_name_is_used_twice() -> None:
    assert len(NAMES) == len(set(NAMES))

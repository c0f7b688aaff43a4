# SPDX-License-Identifier: Apache-2.0
"""Flavor extra specs that Nova's API takes, by the entry point ``nova.api.extra_spec_validators``.

With it, from microversion 2.86 on Nova refuses any other name that begins with ``diskaudit:``,
and any other value.
"""

from __future__ import annotations

from typing import get_args

from nova.api.validation.extra_specs import base

from nova_diskaudit.flavor import GUEST_STATS, GuestStats


def register() -> list[base.ExtraSpecValidator]:
    """What Nova asks for when its API starts."""
    return [
        base.ExtraSpecValidator(
            name=GUEST_STATS,
            description=(
                "What nova-diskaudit does about the guest agent of servers with this flavor: ask "
                "it if it can be asked (optional, the default), report a running server whose "
                "guest does not tell what it uses (required), or never ask it (off)."
            ),
            value={"type": str, "enum": list(get_args(GuestStats))},
        ),
    ]

# SPDX-License-Identifier: Apache-2.0
"""The way to the central service: Keystone, the catalog, an answer."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from oslo_config import cfg

from nova_diskaudit.doctor.check import Check

_NAME = "central service"


def examine(conf: cfg.ConfigOpts) -> Iterator[Check]:
    """The checks of this file.

    ``agent.transport.check(conf)`` makes them: (what, why it failed or None) in the order asked.
    """
    if not conf.publisher.enabled:
        yield Check(name=_NAME, outcome="skipped", detail="[publisher] enabled = false")
        return
    try:
        transport = importlib.import_module("nova_diskaudit.agent.transport")
        steps = list(transport.check(conf))
    except Exception as error:  # the libraries below raise what they like
        yield Check(
            name=_NAME,
            outcome="error",
            detail=f"{type(error).__name__}: {error}",
            action="see [disk_audit] and [publisher]",
        )
        return
    for what, problem in steps:
        yield Check(
            name=f"{_NAME}: {what}",
            outcome="ok" if problem is None else "error",
            detail=problem or "well",
            action="" if problem is None else "see [disk_audit]",
        )

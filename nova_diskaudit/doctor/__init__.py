# SPDX-License-Identifier: Apache-2.0
"""Whether all that the agent needs is there. Nothing is changed; whatever hangs is a result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nova_diskaudit import conf as configuration
from nova_diskaudit.doctor.check import Check

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)


def examine(config_file: str | None) -> list[Check]:
    """Every check, in the order in which they build on each other."""
    where = f"configuration file {config_file}" if config_file else "configuration"
    words = ["--config-file", config_file] if config_file else []
    try:
        conf = configuration.read(words, where=where)
    except configuration.ConfigurationError as error:
        return [
            Check(
                name="configuration",
                outcome="error",
                detail=str(error),
                action="correct it; nothing else was looked at",
            )
        ]
    from nova_diskaudit.doctor import host, service, state

    files = ", ".join(conf.config_file or ()) or "no file, only defaults"
    checks = [Check(name="configuration", outcome="ok", detail=files)]
    for some in (host.examine, state.examine, service.examine):
        checks += _guarded(some, conf)
    return checks


def _guarded(
    some: Callable[[cfg.ConfigOpts], Iterable[Check]], conf: cfg.ConfigOpts
) -> list[Check]:
    """A defect of one part must not hide what the others found."""
    found: list[Check] = []
    try:
        found.extend(some(conf))
    except Exception as error:
        LOG.debug("defect", exc_info=True)
        found.append(
            Check(
                name=some.__module__.rpartition(".")[2],
                outcome="error",
                detail=f"not looked at, by a defect of ours: {type(error).__name__}: {error}",
                action="please report it",
            )
        )
    return found

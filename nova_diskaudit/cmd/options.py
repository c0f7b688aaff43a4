# SPDX-License-Identifier: Apache-2.0
"""What the command line and the configuration file say, as one set of the engine's options."""

from __future__ import annotations

import argparse
import logging
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from nova_diskaudit import conf
from nova_diskaudit.cmd import UsageError
from nova_diskaudit.text import printable

if TYPE_CHECKING:
    from nova_diskaudit import audit

_CONFIGURATION = pathlib.Path("/etc/nova-diskaudit")
# The default of [agent] state_path, here so that it is known without oslo.config.
_STATE_PATH = pathlib.Path("/var/lib/nova-diskaudit")


def resolve(
    arguments: argparse.Namespace, progress: Callable[[str, int, int], None] | None
) -> audit.Options:
    """The engine's options; the command line wins over the file, the file over the defaults."""
    import msgspec

    from nova_diskaudit import audit

    settings = _settings(arguments)
    try:
        path_map = tuple(conf.path_pair(pair) for pair in arguments.path_map)
    except ValueError as error:
        raise UsageError(f"--path-map: {error}") from error
    wanted = audit.from_settings(settings)
    return msgspec.structs.replace(
        wanted,
        uri=wanted.uri if arguments.connect is None else arguments.connect,
        instances=tuple(arguments.instance) if arguments.command == "audit" else (),
        ask_guests=wanted.ask_guests and not arguments.no_guest,
        timeout=wanted.timeout if arguments.timeout is None else arguments.timeout,
        path_map=path_map or wanted.path_map,
        progress=progress,
    )


def agent_state_path(config_file: str | None) -> pathlib.Path:
    """Where the agent keeps its socket; only this option is read, since all of them take long.

    :raises UsageError: when the configuration cannot be used.
    """
    if config_file is None and not any(_CONFIGURATION.glob("*.conf")):
        return _STATE_PATH
    from oslo_config import cfg

    from nova_diskaudit.conf import agent

    some = cfg.ConfigOpts()
    some.register_opts(agent.OPTIONS, group=agent.GROUP)
    try:
        if config_file is not None:
            words = ["--config-file", config_file]
            some(words, project="nova-diskaudit", default_config_dirs=[])
        else:
            some([], project="nova-diskaudit", prog="nova-diskaudit")
        return pathlib.Path(some.agent.state_path)
    except (cfg.Error, ValueError, OSError) as error:
        raise UsageError(f"configuration file {config_file or _CONFIGURATION}: {error}") from error


def _settings(arguments: argparse.Namespace) -> conf.Settings:
    if arguments.config_file is not None:
        try:
            return conf.load(arguments.config_file, debug=arguments.debug)
        except conf.ConfigurationError as error:
            raise UsageError(str(error)) from error
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(
        handlers=[handler], level=logging.DEBUG if arguments.debug else logging.ERROR
    )
    return conf.Settings()


class _Formatter(logging.Formatter):
    """Log lines may quote a guest; a terminal must not obey it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record), limit=None)

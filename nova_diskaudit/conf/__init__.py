# SPDX-License-Identifier: Apache-2.0
"""What an operator can set: the defaults, and the configuration file that overrides them.

One file a group beside this one. oslo.config takes 0.25 s to import, so it is imported only
when there is a configuration file; the defaults stand here, once, for both ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from oslo_config import cfg


class ConfigurationError(Exception):
    """The configuration file cannot be used; the message says why, in one line."""


class Settings(NamedTuple):
    """Everything that can be set, with its default."""

    uri: str = "qemu:///system"
    timeout: float = 60.0
    path_map: tuple[tuple[str, str], ...] = ()
    instances_path: str | None = None
    managed_save_path: str | None = None
    state_path: str | None = None
    inventory_timeout: float = 15.0
    describe_timeout: float = 3.0
    storage_timeout: float = 2.0
    evidence_timeout: float = 5.0
    agent_timeout: float = 3.0
    ask_guests: bool = True
    ask_evidence: bool = True


def path_pair(text: str) -> tuple[str, str]:
    """``FROM=TO`` as a pair; raises :class:`ValueError` with the reason."""
    source, equals, target = text.partition("=")
    if not equals or not source.startswith("/") or not target.startswith("/"):
        raise ValueError(f"{text!r} is not FROM=TO with two absolute paths")
    return source, target


def load(path: str, *, debug: bool = False) -> Settings:
    """Settings of the configuration file at ``path``; logging is set up as it says.

    :raises ConfigurationError: when the file cannot be used.
    """
    conf = read(["--config-file", path], where=f"configuration file {path}", debug=debug)
    return settings(conf)


def read(words: list[str], *, where: str, debug: bool = False) -> cfg.ConfigOpts:
    """All options by a command line of oslo.config's own; logging is set up as they say.

    Without ``--config-file`` the usual places are searched (``/etc/nova-diskaudit``).

    :param where: what an error is about.
    :raises ConfigurationError: when a value cannot be used.
    """
    import importlib.metadata

    from oslo_config import cfg
    from oslo_log import log

    from nova_diskaudit.conf import opts

    version = importlib.metadata.version("nova-diskaudit")
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    opts.register(conf)
    try:
        if any(word.startswith("--config-file") for word in words):
            # Only this file, not the usual directories beside it.
            conf(words, project="nova-diskaudit", version=version, default_config_dirs=[])
        else:
            conf(words, project="nova-diskaudit", version=version)
        for _ in opts.values(conf):
            pass  # every value is looked at now, not when it is first needed
        settings(conf)
        if debug:
            conf.set_override("debug", True)
        log.setup(conf, "nova-diskaudit")
    except (cfg.Error, ValueError, OSError, log.LogConfigError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{where}: {reason}") from error
    return conf


def settings(conf: cfg.ConfigOpts) -> Settings:
    """What the engine is told.

    :raises ValueError: for a value that its type alone does not refuse.
    """
    return Settings(
        uri=conf.hypervisor.connection_uri,
        timeout=conf.audit.timeout,
        path_map=tuple(path_pair(pair) for pair in conf.audit.path_map),
        instances_path=conf.audit.instances_path,
        managed_save_path=conf.audit.managed_save_path,
        state_path=conf.audit.state_path,
        inventory_timeout=conf.audit.inventory_timeout,
        describe_timeout=conf.audit.describe_timeout,
        storage_timeout=conf.audit.storage_timeout,
        evidence_timeout=conf.audit.evidence_timeout,
        agent_timeout=conf.audit.agent_timeout,
        ask_guests=conf.guest.enabled,
        ask_evidence=conf.audit.evidence,
    )

# SPDX-License-Identifier: Apache-2.0
"""Options that keystoneauth defines, as they are written in a file."""

from keystoneauth1 import loading
from oslo_config import cfg

#: Kinds of credentials whose options are listed. Others work as well.
_LISTED_PLUGINS = ("v3applicationcredential", "v3password", "none")


def chosen(options: list[cfg.Opt], names: tuple[str, ...]) -> list[cfg.Opt]:
    """Those of ``names`` that this release of keystoneauth has."""
    return plain([one for one in options if one.dest in names])


def plain(options: list[cfg.Opt]) -> list[cfg.Opt]:
    """Names as they are written in a file: ``region_name``, not ``region-name``."""
    for one in options:
        one.name = one.dest
    return options


def with_credentials(options: list[cfg.Opt]) -> list[cfg.Opt]:
    """``options``, and those of the usual credentials, which keystoneauth registers at use."""
    found = {one.dest: one for one in options}
    for plugin in _LISTED_PLUGINS:
        for one in plain(loading.get_auth_plugin_conf_options(plugin)):
            found.setdefault(one.dest, one)
    return list(found.values())

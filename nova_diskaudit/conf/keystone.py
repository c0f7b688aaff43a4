# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[keystone]``: where the limits are kept, and who may see them all."""

from keystoneauth1 import loading
from oslo_config import cfg

from nova_diskaudit.conf import keystoneauth

GROUP = cfg.OptGroup("keystone", title="Keystone's limits, as the central service sees them")

_ADAPTER = ("valid_interfaces", "region_name", "endpoint_override")

AUTH = loading.get_auth_common_conf_options()
ADAPTER = keystoneauth.chosen(loading.get_adapter_conf_options(include_deprecated=False), _ADAPTER)

for _one in AUTH:
    if _one.dest == "auth_type":
        _one.help = """
Kind of credentials, if others than those of ``[nova]`` are needed; its options go here as well.
Keystone before 29.0.0 (2026.1) shows the limits of all projects to a token with a system scope
alone (``system_scope = all``); newer ones to the role ``admin`` on a project, too."""
for _one in ADAPTER:
    if _one.dest != "endpoint_override":
        # Those of [nova].
        _one.default = None

OPTIONS = [*AUTH, *ADAPTER]

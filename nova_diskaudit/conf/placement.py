# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[placement]``: where Placement is."""

from keystoneauth1 import loading
from oslo_config import cfg

from nova_diskaudit.conf import keystoneauth

GROUP = cfg.OptGroup("placement", title="Placement, as the central service sees it")

_ADAPTER = ("valid_interfaces", "region_name", "endpoint_override")

OPTIONS = keystoneauth.chosen(loading.get_adapter_conf_options(include_deprecated=False), _ADAPTER)

for _one in OPTIONS:
    if _one.dest != "endpoint_override":
        # Those of [nova].
        _one.default = None

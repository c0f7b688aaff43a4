# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[nova]``: where the central service learns whose an instance is."""

from keystoneauth1 import loading
from oslo_config import cfg

from nova_diskaudit.conf import keystoneauth

GROUP = cfg.OptGroup("nova", title="Nova, as the central service sees it")

_SESSION = ("cafile", "certfile", "keyfile", "insecure")
_ADAPTER = ("valid_interfaces", "region_name", "endpoint_override")

OWN = [
    cfg.BoolOpt(
        "enabled",
        help="""
Keep a map of Nova's instances, and believe it about who owns an instance and where it runs. The
credentials need to read all servers, migrations and services (Nova's ``reader`` of everything, by
default the role ``admin``). Off, which only ``auth_strategy = noauth`` allows: what a domain says
of itself is shown, and nothing is called verified. Unset: on with Keystone, off without.""",
    ),
    cfg.IntOpt(
        "interval",
        default=60,
        min=5,
        help="Seconds from one look at what changed in Nova to the next.",
    ),
    cfg.IntOpt(
        "full_interval",
        default=86400,
        min=60,
        help="""
Seconds from one list of all instances to the next. It finds what a look at changes cannot:
instances whose deletion was archived while this service was away.""",
    ),
    cfg.FloatOpt(
        "timeout",
        default=60.0,
        min=1,
        help="Seconds for which Keystone or Nova may be silent before a request is given up.",
    ),
]
AUTH = loading.get_auth_common_conf_options()
SESSION = keystoneauth.chosen(loading.get_session_conf_options(), _SESSION)
ADAPTER = keystoneauth.chosen(loading.get_adapter_conf_options(include_deprecated=False), _ADAPTER)

for _one in ADAPTER:
    if _one.dest == "valid_interfaces":
        _one.default = ["internal", "public"]

OPTIONS = [*OWN, *AUTH, *SESSION, *ADAPTER]

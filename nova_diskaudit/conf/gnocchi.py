# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[gnocchi]``: series of disks, where Gnocchi keeps those of the cloud."""

from keystoneauth1 import loading
from oslo_config import cfg

from nova_diskaudit.conf import keystoneauth

GROUP = cfg.OptGroup("gnocchi", title="Gnocchi, which may keep what the disks held over time")

_SESSION = ("cafile", "certfile", "keyfile", "insecure")
_ADAPTER = ("service_type", "valid_interfaces", "region_name", "endpoint_override")

OWN = [
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="""
Send what is verified of each disk to Gnocchi. It needs the map of Nova, the resource type and the
archive policy that ``nova-diskaudit-manage gnocchi setup`` makes, and credentials that may make
resources and metrics and send measures there; ``auth_section = nova`` takes those
of ``[nova]``.""",
    ),
    cfg.IntOpt(
        "interval",
        default=300,
        min=10,
        help="Seconds from one time that changes are sent to the next.",
    ),
    cfg.IntOpt(
        "full_interval",
        default=1800,
        min=60,
        help="""
Seconds from one time that everything is sent to the next. A disk that does not change is sent then,
with the time at which it was last looked at; so keep this shorter than the archive policy's finest
granularity, or quiet disks have gaps.""",
    ),
    cfg.StrOpt(
        "archive_policy",
        default="nova-diskaudit",
        max_length=255,
        help="""
Archive policy of the metrics. ``nova-diskaudit-manage gnocchi setup`` makes it if there is none of
this name: hours for 90 days, days for three years.""",
    ),
    cfg.IntOpt(
        "parallel_requests",
        default=4,
        min=1,
        max=64,
        help="Requests to Gnocchi that may be on their way at the same time.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=60.0,
        min=1,
        help="Seconds for which Keystone or Gnocchi may be silent before a request is given up.",
    ),
]
AUTH = loading.get_auth_common_conf_options()
SESSION = keystoneauth.chosen(loading.get_session_conf_options(), _SESSION)
ADAPTER = keystoneauth.chosen(loading.get_adapter_conf_options(include_deprecated=False), _ADAPTER)

for _one in ADAPTER:
    if _one.dest == "valid_interfaces":
        _one.default = ["internal", "public"]
    elif _one.dest == "service_type":
        _one.default = "metric"

OPTIONS = [*OWN, *AUTH, *SESSION, *ADAPTER]

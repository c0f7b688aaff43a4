# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[disk_audit]``: where the central service is, and who we are to Keystone.

They are keystoneauth's own, under its own names, without those that mean nothing here: the
service has one version, and nothing is retried below the publisher.
"""

from keystoneauth1 import loading
from oslo_config import cfg

from nova_diskaudit.conf import keystoneauth

GROUP = cfg.OptGroup("disk_audit", title="The central service and the credentials for it")

#: Of keystoneauth's session: all but what a service that runs for months must not collect.
_SESSION = ("cafile", "certfile", "keyfile", "insecure", "tls_ciphers", "tls_min_version")
_ADAPTER = ("service_type", "service_name", "valid_interfaces", "region_name", "endpoint_override")


def _retries(name: str) -> cfg.Opt:
    return cfg.IntOpt(
        name,
        default=0,
        min=0,
        max=0,
        help="""
Always 0. keystoneauth would not wait as long as the service asks for (Retry-After); what could
not be sent stays in the spool, and the publisher tries again.""",
    )


AUTH = loading.get_auth_common_conf_options()
SESSION = keystoneauth.chosen(loading.get_session_conf_options(), _SESSION)
#: What this release of keystoneauth can be told about TLS.
TLS = tuple(one.dest for one in SESSION if one.dest.startswith("tls_"))
ADAPTER = keystoneauth.chosen(loading.get_adapter_conf_options(include_deprecated=False), _ADAPTER)
RETRIES = [_retries("connect_retries"), _retries("status_code_retries")]
TIMEOUT = cfg.FloatOpt(
    "timeout",
    default=60.0,
    min=1,
    max=600,
    help="""
Seconds for which Keystone or the service may be silent (no connection, no byte of an answer)
before a request is given up.""",
)

for _one in ADAPTER:
    if _one.dest == "service_type":
        _one.default = "disk-audit"
        _one.help = "Type of the service in Keystone's catalog. Its URL there ends before ``/v1``."
    elif _one.dest == "valid_interfaces":
        _one.default = ["internal", "public"]
for _one in SESSION:
    if _one.dest == "insecure":
        _one.help = "Do not verify the certificates of Keystone and of the service."

#: What is registered at once.
OPTIONS = [*AUTH, *SESSION, TIMEOUT, *ADAPTER, *RETRIES]


def listed() -> list[cfg.Opt]:
    """``OPTIONS``, and those of the usual credentials, which keystoneauth registers at use."""
    return keystoneauth.with_credentials(OPTIONS)


def register(conf: cfg.ConfigOpts) -> None:
    """Make the options known to ``conf``, and look at every value.

    Apart from the others, because keystoneauth takes long to import. The options of a kind of
    credentials are registered by keystoneauth, when it loads it.

    :raises ValueError: for a value that cannot be used.
    """
    # A group of its own: oslo.config shares the options of one that is registered twice, and the
    # next configuration may have another kind of credentials.
    group = cfg.OptGroup(GROUP.name, title=GROUP.title)
    conf.register_group(group)
    conf.register_opts(OPTIONS, group=group)
    loading.register_auth_conf_options(conf, GROUP.name)
    for one in OPTIONS:
        conf[GROUP.name][one.dest]

# SPDX-License-Identifier: Apache-2.0
"""Options of the group ``[audit]``."""

from oslo_config import cfg

from nova_diskaudit.conf import Settings

GROUP = cfg.OptGroup("audit", title="One sweep over the host")

DEFAULTS = Settings()

OPTIONS = [
    cfg.FloatOpt(
        "timeout",
        default=DEFAULTS.timeout,
        min=1,
        help="""
Seconds after which a sweep ends with everything that is known by then. What was not reached is
reported with the code of the reason.""",
    ),
    cfg.FloatOpt(
        "inventory_timeout",
        default=DEFAULTS.inventory_timeout,
        min=1,
        help="Seconds for libvirt's list of domains. A healthy one takes milliseconds.",
    ),
    cfg.FloatOpt(
        "describe_timeout",
        default=DEFAULTS.describe_timeout,
        min=0.5,
        help="Seconds for the description (XML) of one domain.",
    ),
    cfg.FloatOpt(
        "storage_timeout",
        default=DEFAULTS.storage_timeout,
        min=0.5,
        help="""
Seconds for a look at the images of one domain on one mount. A mount that misses it is left alone
until the question is answered, and no domain on it is asked for block statistics.""",
    ),
    cfg.BoolOpt(
        "evidence",
        default=DEFAULTS.ask_evidence,
        help="""
Ask libvirt for its own block numbers of each running domain. They explain what other tools print,
and are most of what a look costs libvirtd and the QEMUs. Without them the findings
``allocation-is-high-water-mark`` and ``triple-equal`` of running domains are missing, and so is
the host's number of what only QEMU can tell: volumes of storage pools, external data files.""",
    ),
    cfg.FloatOpt(
        "evidence_timeout",
        default=DEFAULTS.evidence_timeout,
        min=0.5,
        help="Seconds for the block statistics of up to eight domains.",
    ),
    cfg.FloatOpt(
        "agent_timeout",
        default=DEFAULTS.agent_timeout,
        min=1,
        help="""
Seconds a guest agent gets for one answer. libvirt adds up to 10 seconds of its own for the
synchronisation that precedes each command.""",
    ),
    cfg.MultiStrOpt(
        "path_map",
        default=list(DEFAULTS.path_map),
        metavar="FROM=TO",
        help="""
Where paths of the domain XML are found on this host, for a libvirt that runs in a container with
other mounts. May be repeated; the first match counts.""",
    ),
    cfg.StrOpt(
        "instances_path",
        default=DEFAULTS.instances_path,
        help="""
Nova's ``instances_path``: searched for the image cache and for what belongs to no domain. Unset:
it is taken from the paths of Nova's own disks, and while there is none it is Nova's default,
``/var/lib/nova/instances``. Nova's scheduler can only be told of a host without instances if it
is right.""",
    ),
    cfg.StrOpt(
        "managed_save_path",
        default=DEFAULTS.managed_save_path,
        help="""
Where libvirt keeps the memory of domains that were saved by ``virsh managedsave``, usually
``/var/lib/libvirt/qemu/save``. Unset: their bytes are not reported.""",
    ),
    cfg.StrOpt(
        "state_path",
        default=DEFAULTS.state_path,
        help="""
File that remembers calls still pinned in libvirt by a hung QEMU, so that runs repeated
against the same hung QEMU do not pin one more worker each. Unset: nothing is remembered.""",
    ),
]

# SPDX-License-Identifier: Apache-2.0
"""libvirt's inventory: who is here, and what each domain is made of.

None of these calls reaches a QEMU, so they answer for a stopped one as for any other (measured on
libvirt 9.0 and 11.3). But newer libvirts describe a domain behind the job of another caller: while
that one waits for a stopped QEMU, ``virDomainGetXMLDesc`` takes 30 s on 11.3, with any flags, and
no time at all on 9.0.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import time
from collections.abc import Iterable

import libvirt
import msgspec

from nova_diskaudit.facts import Control, Domain, HostInfo, Listed, Process
from nova_diskaudit.host import domxml
from nova_diskaudit.host.errors import HostError
from nova_diskaudit.host.processes import exists
from nova_diskaudit.record import State

_STATES: dict[int, State] = {
    libvirt.VIR_DOMAIN_NOSTATE: "unknown",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "running",  # shutting down: there still is a QEMU
    libvirt.VIR_DOMAIN_SHUTOFF: "shutoff",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended",
}
_INACTIVE = frozenset({"shutoff", "crashed", "unknown"})
_LOOKS = 3
_LIST_IS_YOUNG_SECONDS = 1.0

# 9.0 does not wait and 11.3 does; what lies between was not measured and is taken to wait.
_WAITS_SINCE_LIBVIRT = 9_001_000
_YOUNG_JOB_MILLISECONDS = 2000
_JOB_LOOKS = 4
_JOB_PAUSE_SECONDS = 0.015


def host_info(connection: libvirt.virConnect) -> HostInfo:
    """The host's name and libvirt's version.

    The hypervisor's version is not asked for: when libvirt's cache of capabilities is stale,
    ``virConnectGetVersion`` starts a QEMU to probe it, which can take a minute (libvirt 9.0
    ``qemuConnectGetVersion``).
    """
    number = connection.getLibVersion()
    return HostInfo(
        hostname=connection.getHostname(),
        libvirt_version=f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}",
    )


def list_states(connection: libvirt.virConnect) -> list[Listed]:
    """Every domain with its state, in one question that waits for no QEMU.

    The group STATE needs no job of a domain (libvirt 9.0 ``qemuDomainGetStatsNeedMonitor``).
    """
    asked_at = time.monotonic()
    records = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0)
    _keep(connection, (domain for domain, _ in records))
    told = _told(connection)
    told.states = {one.UUIDString(): numbers.get("state.state", -1) for one, numbers in records}
    told.states_asked_at = asked_at
    return [
        Listed(
            uuid=domain.UUIDString(),
            name=domain.name(),
            number=domain.ID() if domain.ID() >= 0 else None,
            state=(numbers.get("state.state", -1), numbers.get("state.reason", -1)),
        )
        for domain, numbers in records
    ]


def describe(connection: libvirt.virConnect, uuid: str) -> Domain:
    """State, disks and agent channel of one domain.

    The state is that of the list while the list is young, and asked for when there is none, or when
    the description contradicts it: that question is a third of the whole (libvirt 9.0, measured).

    :raises HostError: ``domain-gone`` or ``domain-unreadable``; ``qemu-unresponsive`` when this
        libvirt would wait behind another caller that waits for QEMU.
    """
    domain = lookup(connection, uuid)
    if _version(connection) >= _WAITS_SINCE_LIBVIRT:
        why = _why_not_described(domain)
        if why is not None:
            raise HostError("qemu-unresponsive", f"{why}, and libvirt would not describe it before")
    listed = _state_of_young_list(connection, uuid)
    for _ in range(_LOOKS):
        seen_at = datetime.datetime.now(datetime.UTC)
        try:
            number = domain.state()[0] if listed is None else listed
            state, listed = _STATES.get(number, "unknown"), None
            xml = domain.XMLDesc(0)
        except libvirt.libvirtError as error:
            raise translate(error) from None
        active = domxml.is_active(xml)
        if active != (state in _INACTIVE):
            break
        # It started or stopped between the two. A crashed one may keep its QEMU.
        if state == "crashed":
            break
    else:
        state = "unknown"
    return _parsed(xml, state, seen_at)


# What was read from a description, by its digest: libvirt uses the same words again and again, and
# reading them costs more than fetching them.
_read_before: dict[bytes, Domain] = {}
_MOST_READ_BEFORE = 1024
_LONGEST_READ_BEFORE = 32 * 1024  # characters; of a domain with two disks they are 4,000 to 8,000


def _parsed(xml: str, state: State, seen_at: datetime.datetime) -> Domain:
    before = _read_before.get(domxml.digest(xml))
    if before is not None:
        return msgspec.structs.replace(before, state=state, seen_at=seen_at)
    domain = domxml.parse(xml, state=state, seen_at=seen_at)
    if len(xml) > _LONGEST_READ_BEFORE:
        return domain
    if len(_read_before) >= _MOST_READ_BEFORE:
        _read_before.clear()  # of descriptions that are no more, and of those that are, once
    _read_before[domain.digest] = domain
    return domain


def digests(connection: libvirt.virConnect, uuids: list[str]) -> list[bytes | None]:
    """The digest of each domain's description, in the same order.

    None where there is none to be had now: the domain is gone, or this libvirt would wait behind
    the job of another caller, however young.
    """
    waits = _version(connection) >= _WAITS_SINCE_LIBVIRT
    return [_digest(connection, uuid, waits=waits) for uuid in uuids]


def _digest(connection: libvirt.virConnect, uuid: str, *, waits: bool) -> bytes | None:
    try:
        domain = lookup(connection, uuid)
        if waits and _has_job(domain):
            return None
        return domxml.digest(domain.XMLDesc(0))
    except (HostError, libvirt.libvirtError):
        return None


def _has_job(domain: libvirt.virDomain) -> bool:
    try:
        return control_of(domain).state != "ok"
    except HostError as error:
        if error.code == "guest-not-running":
            return False
        raise


def control(connection: libvirt.virConnect, uuid: str, process: Process | None) -> Control | None:
    """What libvirt's monitor of this domain is doing; None when ``process`` does not run any more.

    It never blocks, and alone it is no health check: it says OK for a stopped QEMU until
    somebody asks that QEMU something (libvirt 9.0 ``qemuDomainGetControlInfo``).
    """
    if process is not None and not exists(process):
        return None
    try:
        return control_of(lookup(connection, uuid))
    except HostError as error:
        if error.code in ("domain-gone", "guest-not-running"):
            return None
        raise


def why_busy(domain: libvirt.virDomain) -> str | None:
    """Why libvirt's monitor of this domain would not answer now; None when nothing speaks for it.

    A job younger than 2 s is no reason: others ask too. Nor is an old one that is over a moment
    later: during a migration libvirt shows the age of the migration for each short question.

    :raises HostError: as :func:`control_of`.
    """
    for look in range(_JOB_LOOKS):
        if look:
            time.sleep(_JOB_PAUSE_SECONDS)
        control = control_of(domain)
        if control.state == "ok":
            return None
        if control.state == "busy" and control.milliseconds < _YOUNG_JOB_MILLISECONDS:
            return None
    if control.state == "error":
        return "libvirt's monitor connection to QEMU is broken"
    return f"another call has been waiting for QEMU for {control.milliseconds / 1000:.1f} s"


def _why_not_described(domain: libvirt.virDomain) -> str | None:
    try:
        return why_busy(domain)
    except HostError as error:
        if error.code == "guest-not-running":
            return None  # there is no job to wait for
        raise


def control_of(domain: libvirt.virDomain) -> Control:
    """As :func:`control` for a domain at hand.

    :raises HostError: ``guest-not-running`` when no QEMU runs, else as :func:`translate`.
    """
    try:
        state, _, milliseconds = domain.controlInfo()
    except libvirt.libvirtError as error:
        raise translate(error) from None
    if state == libvirt.VIR_DOMAIN_CONTROL_OK:
        return Control(state="ok", milliseconds=0)
    if state == libvirt.VIR_DOMAIN_CONTROL_ERROR:
        return Control(state="error", milliseconds=milliseconds)
    return Control(state="busy", milliseconds=milliseconds)


def lookup(connection: libvirt.virConnect, uuid: str) -> libvirt.virDomain:
    """The handle of the domain with this UUID, which says nothing of its state.

    All are fetched in one call and kept as long as the connection: one by one, each would cost
    half as much as a description.

    :raises HostError: ``domain-gone``, else as :func:`translate`.
    """
    handle = _told(connection).handles.get(uuid)
    if handle is None:
        try:
            _keep(connection, connection.listAllDomains())
        except libvirt.libvirtError as error:
            raise translate(error) from None
        handle = _told(connection).handles.get(uuid)
    if handle is None:
        raise HostError("domain-gone", f"libvirt has no domain {uuid}")
    return handle


@dataclasses.dataclass
class _Told:
    """What libvirt told over one connection: handles, states by the list and when it was asked for
    that, and the daemon's version.
    """

    handles: dict[str, libvirt.virDomain] = dataclasses.field(default_factory=dict)
    states: dict[str, int] = dataclasses.field(default_factory=dict)
    states_asked_at: float = -math.inf
    version: int | None = None


_by_connection: dict[libvirt.virConnect, _Told] = {}


def _told(connection: libvirt.virConnect) -> _Told:
    told = _by_connection.get(connection)
    if told is None:
        _by_connection.clear()  # of a connection that is closed
        told = _by_connection[connection] = _Told()
    return told


def _keep(connection: libvirt.virConnect, handles: Iterable[libvirt.virDomain]) -> None:
    _told(connection).handles = {handle.UUIDString(): handle for handle in handles}


def _state_of_young_list(connection: libvirt.virConnect, uuid: str) -> int | None:
    told = _told(connection)
    if time.monotonic() - told.states_asked_at > _LIST_IS_YOUNG_SECONDS:
        return None
    return told.states.get(uuid)


def _version(connection: libvirt.virConnect) -> int:
    """The daemon's version, asked once a connection."""
    told = _told(connection)
    if told.version is None:
        try:
            told.version = connection.getLibVersion()
        except libvirt.libvirtError as error:
            raise translate(error) from None
    return told.version


def translate(error: libvirt.libvirtError) -> HostError:
    """Libvirt's error as a code and a clause."""
    text = " ".join((error.get_error_message() or "unknown error").split())[:500]
    codes = {
        libvirt.VIR_ERR_NO_DOMAIN: "domain-gone",
        libvirt.VIR_ERR_OPERATION_INVALID: "guest-not-running",
        libvirt.VIR_ERR_OPERATION_TIMEOUT: "libvirt-busy",
    }
    return HostError(codes.get(error.get_error_code(), "domain-unreadable"), text)

# SPDX-License-Identifier: Apache-2.0
"""libvirt, QEMU and the storage, asked through lanes as the agent does it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from oslo_config import cfg

from nova_diskaudit import conf as configuration
from nova_diskaudit.audit import uri as uris
from nova_diskaudit.doctor.check import Check
from nova_diskaudit.facts import Domain, HostInfo, Layer, Process
from nova_diskaudit.lane import operations
from nova_diskaudit.lane.errors import DeadlineMissed, LaneError
from nova_diskaudit.lane.lanes import Lanes
from nova_diskaudit.lane.operations import Operation

_SECONDS = 5.0
_MOST_DESCRIBED = 20


def examine(conf: cfg.ConfigOpts) -> Iterator[Check]:
    """The checks of this file; takes a few deadlines at most."""
    settings = configuration.settings(conf)
    why = uris.problem(settings.uri)
    if why is not None:
        yield Check(
            name="libvirt",
            outcome="error",
            detail=f"{settings.uri}: {why}",
            action="set [hypervisor] connection_uri",
        )
        return
    with Lanes(settings.uri, state_path=None) as lanes:
        info = _ask(lanes, operations.HOST_INFO)
        yield _libvirt(settings.uri, info)
        yield from _names(conf.host, info.hostname if isinstance(info, HostInfo) else None)
        if not isinstance(info, HostInfo):
            return
        listed = _ask(lanes, operations.LIST_STATES)
        processes = _ask(lanes, operations.PROCESSES)
        if isinstance(listed, str):
            yield _problem("domains", listed, "look at libvirtd: virsh list --all")
            return
        running = [one.uuid for one in listed if one.number is not None]
        yield Check(
            name="domains", outcome="ok", detail=f"{len(listed)}, {len(running)} of them active"
        )
        found: dict[str, Process] = {} if isinstance(processes, str) else processes
        yield _processes(running, processes)
        yield from _images(lanes, [one.uuid for one in listed], found, settings.path_map)
        yield _guest(lanes, settings.ask_guests, running)


def _ask(lanes: Lanes, operation: Operation[Any], *arguments: object) -> Any:
    """The answer; text that says why there is none."""
    try:
        return lanes.call(operation, *arguments, deadline=_SECONDS)
    except DeadlineMissed:
        return f"no answer within {_SECONDS:g} s: it hangs"
    except LaneError as error:
        return str(error)


def _problem(name: str, detail: str, action: str) -> Check:
    return Check(name=name, outcome="error", detail=detail, action=action)


def _libvirt(uri: str, info: HostInfo | str) -> Check:
    if isinstance(info, str):
        return _problem(
            "libvirt",
            info,
            "is libvirtd or virtqemud running, and may this user open its read-only socket?",
        )
    return Check(name="libvirt", outcome="ok", detail=f"{uri}: libvirt {info.libvirt_version}")


def _names(configured: str | None, hypervisor: str | None) -> Iterator[Check]:
    """Whether our name of this host is Nova's (its ``[DEFAULT] host``)."""
    ours = configured or socket.gethostname()
    nova, source = _nova_host()
    if nova is None:
        same = hypervisor is None or hypervisor == ours
        yield Check(
            name="host name",
            outcome="skipped" if same else "warning",
            detail=f"{ours}; not compared with Nova's: {source}; libvirt says {hypervisor or '-'}",
            action=""
            if same
            else "set [DEFAULT] host to what `openstack compute service list` has",
        )
    elif nova == ours:
        yield Check(name="host name", outcome="ok", detail=f"{ours}, as {source}")
    else:
        yield _problem(
            "host name",
            f"{ours}, but {nova} by {source}",
            f"set [DEFAULT] host = {nova}, or the central service refuses the reports",
        )


def _nova_host(path: str = "/etc/nova/nova.conf") -> tuple[str | None, str]:
    """Nova's name of this host, and where it is from or why it is not known."""
    nova = cfg.ConfigOpts()
    nova.register_opt(cfg.StrOpt("host"))
    try:
        nova(["--config-file", path], project="nova", default_config_dirs=[])
    except (cfg.Error, ValueError, OSError):
        return None, f"{path} cannot be read"
    return nova.host or socket.gethostname(), path


def _processes(running: list[str], processes: dict[str, Process] | str) -> Check:
    if isinstance(processes, str):
        return _problem("QEMU in /proc", processes, "look at /proc")
    missing = [uuid for uuid in running if uuid not in processes]
    if missing:
        return Check(
            name="QEMU in /proc",
            outcome="warning",
            detail=f"{len(missing)} of {len(running)} not found, such as {missing[0]}",
            action="run as root, without hidepid= on /proc, in the host's PID namespace",
        )
    return Check(name="QEMU in /proc", outcome="ok", detail=f"{len(running)} found")


def _images(
    lanes: Lanes,
    uuids: list[str],
    processes: dict[str, Process],
    path_map: tuple[tuple[str, str], ...],
) -> Iterator[Check]:
    """One image of each of the first domains, as an audit looks at it."""
    seen = 0
    for uuid in uuids[:_MOST_DESCRIBED]:
        domain = _ask(lanes, operations.DESCRIBE, uuid)
        if not isinstance(domain, Domain):
            yield _problem("images", f"{uuid}: {domain}", "virsh dumpxml says more")
            return
        layer = _first_file(domain)
        if layer is None:
            continue
        looked = _ask(lanes, operations.PROBE_LAYERS, [layer], processes.get(uuid), [*path_map])
        problem = looked if isinstance(looked, str) else looked[0].code
        if problem is not None:
            detail = "" if isinstance(looked, str) else looked[0].detail or ""
            yield _problem(
                "images",
                f"{layer.source}: {problem} {detail}".strip(),
                "run as root or with CAP_DAC_READ_SEARCH; see [audit] path_map for a container",
            )
            return
        seen += 1
    if seen:
        yield Check(name="images", outcome="ok", detail=f"looked at {seen}, all readable")
    else:
        yield Check(name="images", outcome="skipped", detail="no domain with a file or device")


def _first_file(domain: Domain) -> Layer | None:
    layers = (disk.layers[0] for disk in domain.disks if disk.layers)
    return next((one for one in layers if one.storage in ("file", "block") and one.source), None)


def _guest(lanes: Lanes, wanted: bool, running: list[str]) -> Check:
    if not wanted:
        return Check(name="guest agents", outcome="skipped", detail="[guest] enabled = false")
    if not running:
        return Check(name="guest agents", outcome="skipped", detail="no active domain to ask")
    answer = _ask(lanes, operations.AGENT, running[0], '{"execute":"guest-info"}', int(_SECONDS))
    if isinstance(answer, str) and ("guest-not-permitted" in answer or "no-connection" in answer):
        return _problem(
            "guest agents",
            answer,
            "permit libvirt's read-write socket, or set [guest] enabled = false",
        )
    detail = "the read-write socket opens; one guest was asked"
    if isinstance(answer, str):
        detail += f" and did not answer ({answer})"
    return Check(name="guest agents", outcome="ok", detail=detail)

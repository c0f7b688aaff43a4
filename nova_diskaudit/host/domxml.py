# SPDX-License-Identifier: Apache-2.0
"""The domain XML, read strictly and within bounds, as :class:`nova_diskaudit.facts.Domain`.

Form: libvirt's ``docs/formatdomain.rst`` (9.0 to 12). Elements that no number rests on
(``<mirror>``, ``<backenddomain>``, ...) are skipped; a thing that this module needs and that has
another form than documented makes the whole document invalid.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable
from xml.etree import ElementTree

from nova_diskaudit.facts import Channel, DiskDefinition, Domain, Layer
from nova_diskaudit.flavor import GUEST_STATS, GuestStats
from nova_diskaudit.host.errors import HostError
from nova_diskaudit.record import State

MAX_CHARACTERS = 8 * 2**20
MAX_DISKS = 1024
MAX_CHAIN = 200

AGENT_CHANNEL = "org.qemu.guest_agent.0"

_NOVA_NAMESPACES = (
    "http://openstack.org/xmlns/libvirt/nova/1.1",
    "http://openstack.org/xmlns/libvirt/nova/1.0",
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Which attribute of <source> names the thing, by source type.
_SOURCE_ATTRIBUTE = {
    "file": "file",
    "block": "dev",
    "dir": "dir",
    "network": "name",
    "vhostuser": "path",
    "vhostvdpa": "dev",
}
_CONTROLLER_OF_BUS = {"scsi": "scsi", "sata": "sata", "ide": "ide", "fdc": "fdc"}


def parse(xml: str, *, state: State, seen_at: datetime.datetime) -> Domain:
    """Read one domain description.

    :raises HostError: ``domain-unreadable`` when it is too large or not of libvirt's form.
    """
    root = _tree(xml)
    uuid = (root.findtext("uuid") or "").strip().lower()
    if _UUID.fullmatch(uuid) is None:
        raise _invalid("it has no uuid")
    name = root.findtext("name")
    if not name:
        raise _invalid("it has no name")
    project_id, user_id, flavor, guest_stats = _nova(root)
    return Domain(
        uuid=uuid,
        name=name,
        state=state,
        channel=_channel(root),
        project_id=project_id,
        user_id=user_id,
        flavor=flavor,
        disks=_disks(root),
        seen_at=seen_at,
        digest=digest(xml),
        guest_stats=guest_stats,
    )


def digest(xml: str) -> bytes:
    """What tells one description from another; only equality means something."""
    return hashlib.blake2b(xml.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def is_active(xml: str) -> bool:
    """Whether libvirt described a domain that has a QEMU process: only those carry an id.

    The state and the description are two calls, and the domain may start or stop between them;
    this tells which side the description is from (libvirt 9.0 ``virDomainDefFormatInternal``).
    """
    opening = xml[: xml.find(">") + 1]
    return re.search(r"\sid=['\"]\d+['\"]", opening) is not None


def _tree(xml: str) -> ElementTree.Element:
    if len(xml) > MAX_CHARACTERS:
        raise _invalid(f"it has more than {MAX_CHARACTERS} characters")
    if "<!DOCTYPE" in xml:
        # libvirt writes none, and it is the only door to entities.
        raise _invalid("it has a document type")
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError) as error:
        raise _invalid(str(error)) from None
    if root.tag != "domain":
        raise _invalid("it is not a domain")
    return root


def _nova(
    root: ElementTree.Element,
) -> tuple[str | None, str | None, str | None, GuestStats]:
    """(project id, user id, flavor name, guest_stats) from Nova's metadata, newest namespace first.

    Nova writes extra specs since 2025.2 (32.0.0, ``nova/virt/libvirt/config.py``).
    """
    for namespace in _NOVA_NAMESPACES:
        instance = root.find(f"metadata/{{{namespace}}}instance")
        if instance is None:
            continue
        names = {"": namespace}

        def attribute(path: str, name: str) -> str | None:
            element = instance.find(path, names)  # noqa: B023
            return element.get(name) if element is not None else None

        return (
            attribute("owner/project", "uuid"),
            attribute("owner/user", "uuid"),
            attribute("flavor", "name"),
            _guest_stats(instance.iterfind("flavor/extraSpecs/extraSpec", names)),
        )
    return None, None, None, "optional"


def _guest_stats(specs: Iterable[ElementTree.Element]) -> GuestStats:
    """What no validator of ours has seen is no order: any other word means ``optional``."""
    for spec in specs:
        if spec.get("name") == GUEST_STATS:
            word = (spec.text or "").strip()
            return "off" if word == "off" else "required" if word == "required" else "optional"
    return "optional"


def _channel(root: ElementTree.Element) -> Channel:
    for target in root.iterfind("devices/channel/target"):
        if target.get("type") == "virtio" and target.get("name") == AGENT_CHANNEL:
            # Only the description of a running domain has a state.
            state = target.get("state")
            if state == "connected":
                return "connected"
            return "disconnected" if state == "disconnected" else "unknown"
    return "absent"


def _disks(root: ElementTree.Element) -> tuple[DiskDefinition, ...]:
    elements = root.findall("devices/disk")
    if len(elements) > MAX_DISKS:
        raise _invalid(f"it has more than {MAX_DISKS} disks")
    controllers = _controllers(root)
    disks = tuple(_disk(element, controllers) for element in elements)
    if len({disk.target for disk in disks}) != len(disks):
        raise _invalid("two disks have the same target")
    return disks


def _controllers(root: ElementTree.Element) -> dict[tuple[str, int], str]:
    """PCI addresses of the disk controllers by (type, index)."""
    found = {}
    for controller in root.iterfind("devices/controller"):
        kind = controller.get("type")
        address = controller.find("address")
        if kind in _CONTROLLER_OF_BUS and address is not None:
            pci = _pci(address)
            if pci is not None:
                found[kind, _number(controller.get("index"), "controller index")] = pci
    return found


def _disk(element: ElementTree.Element, controllers: dict[tuple[str, int], str]) -> DiskDefinition:
    target = element.find("target")
    name = target.get("dev") if target is not None else None
    if target is None or not name:
        raise _invalid("a disk has no target")
    bus = target.get("bus")
    driver = element.find("driver")
    alias = element.find("alias")
    layers, complete = _chain(element, driver)
    return DiskDefinition(
        target=name,
        device=element.get("device", "disk"),
        bus=bus,
        serial=element.findtext("serial") or None,
        alias=alias.get("name") if alias is not None else None,
        address=_address(element.find("address"), bus, controllers),
        discard=driver.get("discard") if driver is not None else None,
        read_only=element.find("readonly") is not None,
        shareable=element.find("shareable") is not None,
        layers=layers,
        data_file=_data_file(element),
        chain_complete=complete,
    )


def _chain(
    disk: ElementTree.Element, driver: ElementTree.Element | None
) -> tuple[tuple[Layer, ...], bool]:
    """The layers, top first, and whether these are all.

    libvirt closes the chain with an empty ``<backingStore/>`` once it knows all of it, that is
    for every running domain (docs/formatdomain.rst, "backingStore"); but not below a network
    disk (seen with 9.0 and nbd). Below a raw layer there is nothing in any case.
    """
    top = _layer(disk, driver.get("type") if driver is not None else None)
    if top is None:
        return (), True
    layers = [top]
    backing = disk.find("backingStore")
    while backing is not None:
        if backing.get("type") is None:
            return tuple(layers), True
        if len(layers) >= MAX_CHAIN:
            raise _invalid(f"a disk has more than {MAX_CHAIN} layers")
        image_format = backing.find("format")
        layer = _layer(backing, image_format.get("type") if image_format is not None else None)
        if layer is None:
            raise _invalid("a backing store has no source")
        layers.append(layer)
        backing = backing.find("backingStore")
    return tuple(layers), layers[-1].format == "raw"


def _layer(holder: ElementTree.Element, image_format: str | None) -> Layer | None:
    """The layer that ``holder`` describes; None when it holds no medium."""
    kind = holder.get("type", "file")
    source = holder.find("source")
    if source is None:
        return None
    attribute = _SOURCE_ATTRIBUTE.get(kind)
    name = source.get(attribute) if attribute else None
    if kind == "file" and name is None and source.get("fdgroup") is None:
        return None
    if kind == "network":
        kind = f"network:{source.get('protocol', 'unknown')}"
    elif kind == "volume":
        name = f"{source.get('pool', '')}/{source.get('volume', '')}"
    elif kind == "nvme":
        address = source.find("address")
        pci = _pci(address) if address is not None else None
        name = f"{pci}/{source.get('namespace', '')}" if pci else None
    window = source.find("slices/slice[@type='storage']")
    return Layer(
        storage=kind,
        source=name,
        format=image_format,
        window_bytes=_number(window.get("size"), "slice size") if window is not None else None,
        # In <source> since libvirt 3.9; before it stood beside it.
        encrypted=source.find("encryption") is not None or holder.find("encryption") is not None,
    )


def _data_file(disk: ElementTree.Element) -> Layer | None:
    """The file that keeps the data of a qcow2 top layer (``<dataStore>``, libvirt 10.10)."""
    store = disk.find("source/dataStore")
    if store is None:
        store = disk.find("dataStore")
    if store is None:
        return None
    image_format = store.find("format")
    return _layer(store, image_format.get("type") if image_format is not None else None)


def _address(
    address: ElementTree.Element | None,
    bus: str | None,
    controllers: dict[tuple[str, int], str],
) -> str | None:
    if address is None:
        return None
    if address.get("type") == "pci":
        pci = _pci(address)
        return f"pci:{pci}" if pci else None
    if address.get("type") == "drive":
        index = _number(address.get("controller", "0"), "controller")
        controller = controllers.get((_CONTROLLER_OF_BUS.get(bus or "", ""), index))
        if controller is None:
            return None
        place = [_number(address.get(key, "0"), key) for key in ("bus", "target", "unit")]
        return f"drive:{controller}:{place[0]}:{place[1]}:{place[2]}"
    return None


def _pci(address: ElementTree.Element) -> str | None:
    """``DDDD:BB:SS.F``, or None when it is not a PCI address or not assigned yet."""
    parts = [address.get(key) for key in ("domain", "bus", "slot", "function")]
    if address.get("type", "pci") != "pci" or parts[1] is None or parts[2] is None:
        return None
    domain, bus, slot, function = (_number(part or "0", "PCI address") for part in parts)
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _number(text: str | None, what: str) -> int:
    """Decimal or 0x-hexadecimal, not negative, at most 63 bits."""
    if text is not None and len(text) <= 20 and text.isascii():
        try:
            number = int(text, 16) if text.lower().startswith("0x") else int(text)
        except ValueError:
            number = -1
        if 0 <= number < 2**63:
            return number
    raise _invalid(f"a {what} is not a number")


def _invalid(why: str) -> HostError:
    return HostError("domain-unreadable", f"the domain XML is not as libvirt writes it: {why}")

# SPDX-License-Identifier: Apache-2.0
"""The domain XML: what libvirt 9.0 wrote for one rich domain, and what nobody should write."""

from __future__ import annotations

import datetime
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_diskaudit.facts import DiskDefinition, Domain, Layer
from nova_diskaudit.host import domxml
from nova_diskaudit.host.errors import HostError

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
# As ``virsh dumpxml`` printed them on libvirt 9.0, paths changed.
RUNNING = (HERE / "running.xml").read_text()
SHUTOFF = (HERE / "shutoff.xml").read_text()
DIRECTORY = "/var/lib/nova/instances/6f6c0d3e-5a3b-4a8c-9d0e-2f7d7f6a1b2c"


def parse(xml: str) -> Domain:
    return domxml.parse(xml, state="running", seen_at=NOW)


def disk(xml: str, target: str = "vda") -> DiskDefinition:
    return next(d for d in parse(xml).disks if d.target == target)


def domain_with(devices: str, metadata: str = "") -> str:
    return (
        "<domain type='qemu'><name>n</name><uuid>6f6c0d3e-5a3b-4a8c-9d0e-2f7d7f6a1b2c</uuid>"
        f"<metadata>{metadata}</metadata><devices>{devices}</devices></domain>"
    )


def test_identity_and_owner() -> None:
    domain = parse(RUNNING)
    assert domain.uuid == "6f6c0d3e-5a3b-4a8c-9d0e-2f7d7f6a1b2c"
    assert domain.name == "instance-0000002a"
    assert domain.project_id == "2222222222222222222222222222bbbb"
    assert domain.user_id == "1111111111111111111111111111aaaa"
    assert domain.flavor == "m1.small"
    assert (domain.state, domain.seen_at) == ("running", NOW)


def test_owner_from_the_older_namespace() -> None:
    older = RUNNING.replace("libvirt/nova/1.1", "libvirt/nova/1.0")
    assert parse(older).flavor == "m1.small"
    unknown = RUNNING.replace("libvirt/nova/1.1", "libvirt/nova/9.9")
    assert parse(unknown).flavor is None


def test_incomplete_metadata_gives_what_it_has() -> None:
    namespace = "http://openstack.org/xmlns/libvirt/nova/1.1"
    metadata = f"<n:instance xmlns:n='{namespace}'><n:flavor name='f'/></n:instance>"
    domain = parse(domain_with("", metadata))
    assert (domain.flavor, domain.project_id, domain.user_id) == ("f", None, None)


def flavor_with(specs: str) -> str:
    """As Nova 34.0.0 writes a flavor with extra specs."""
    return RUNNING.replace("</nova:flavor>", f"{specs}</nova:flavor>")


def spec(value: str, name: str = "diskaudit:guest_stats") -> str:
    return f'<nova:extraSpec name="{name}">{value}</nova:extraSpec>'


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ("", "optional"),
        ("<nova:extraSpecs/>", "optional"),
        (f"<nova:extraSpecs>{spec('off')}</nova:extraSpecs>", "off"),
        (f"<nova:extraSpecs>{spec('required')}</nova:extraSpecs>", "required"),
        (f"<nova:extraSpecs>{spec('optional')}</nova:extraSpecs>", "optional"),
        (f"<nova:extraSpecs>{spec('8', 'hw:x')}{spec('off')}</nova:extraSpecs>", "off"),
        # What no validator has seen is no order.
        (f"<nova:extraSpecs>{spec('OFF')}</nova:extraSpecs>", "optional"),
        (f"<nova:extraSpecs>{spec('')}</nova:extraSpecs>", "optional"),
        (f"<nova:extraSpecs>{spec('off', 'guest_stats')}</nova:extraSpecs>", "optional"),
        # Not where Nova writes it.
        (spec("off"), "optional"),
    ],
)
def test_what_the_flavor_says_about_the_guest(specs: str, expected: str) -> None:
    assert parse(flavor_with(specs)).guest_stats == expected


def test_a_domain_that_nova_did_not_make_has_no_flavor_to_forbid_anything() -> None:
    assert parse(domain_with("")).guest_stats == "optional"


def test_chain_top_first_and_closed() -> None:
    top = disk(RUNNING)
    assert [layer.source for layer in top.layers] == [
        f"{DIRECTORY}/disk",
        f"{DIRECTORY}/mid",
        f"{DIRECTORY}/base",
    ]
    assert [layer.format for layer in top.layers] == ["qcow2", "qcow2", "raw"]
    assert top.chain_complete
    assert top.discard == "unmap"


def test_chain_of_a_domain_that_is_off_is_open_unless_raw() -> None:
    assert len(disk(SHUTOFF).layers) == 1
    assert not disk(SHUTOFF).chain_complete
    assert disk(SHUTOFF, "sdb").chain_complete


def test_a_raw_network_disk_is_complete_though_libvirt_does_not_close_it() -> None:
    assert disk(RUNNING, "vdc").chain_complete


def test_every_source_type() -> None:
    assert disk(RUNNING, "vdb").layers == (
        Layer(storage="block", source="/dev/loop7", format="raw"),
    )
    assert disk(RUNNING, "vdc").layers == (
        Layer(storage="network:nbd", source="export", format="raw"),
    )
    assert disk(RUNNING, "sda").layers[0].window_bytes == 4194304
    devices = """
      <disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='a'/></disk>
      <disk type='dir' device='disk'><source dir='/d'/><target dev='b'/></disk>
      <disk type='vhostuser' device='disk'><source type='unix' path='/s'/><target dev='c'/></disk>
      <disk type='vhostvdpa' device='disk'><source dev='/dev/vhost-vdpa-0'/><target dev='d'/></disk>
      <disk type='nvme' device='disk'>
        <source type='pci' namespace='1'>
          <address domain='0x0000' bus='0x0a' slot='0x00' function='0x0'/></source>
        <target dev='e'/></disk>
      <disk type='network' device='disk'><driver type='raw'/>
        <source protocol='rbd' name='vms/disk'/><target dev='f'/></disk>
      <disk type='network' device='disk'><source protocol='iscsi' name='iqn.2026:t/1'/>
        <target dev='g'/></disk>
      <disk type='block' device='lun'><source dev='/dev/sdx'/><target dev='h'/></disk>
    """
    found = {d.target: d.layers[0] for d in parse(domain_with(devices)).disks}
    assert found["a"] == Layer(storage="volume", source="p/v", format=None)
    assert found["b"] == Layer(storage="dir", source="/d", format=None)
    assert found["c"] == Layer(storage="vhostuser", source="/s", format=None)
    assert found["d"] == Layer(storage="vhostvdpa", source="/dev/vhost-vdpa-0", format=None)
    assert found["e"] == Layer(storage="nvme", source="0000:0a:00.0/1", format=None)
    assert found["f"] == Layer(storage="network:rbd", source="vms/disk", format="raw")
    assert found["g"] == Layer(storage="network:iscsi", source="iqn.2026:t/1", format=None)
    assert found["h"].storage == "block"


def test_drives_and_flags() -> None:
    config, empty = disk(RUNNING, "sdc"), disk(RUNNING, "sdd")
    assert config.device == empty.device == "cdrom"
    assert config.read_only
    assert config.layers[0].source == f"{DIRECTORY}/disk.config"
    assert empty.layers == ()
    volume = disk(RUNNING, "sda")
    assert volume.shareable and not volume.read_only
    assert volume.serial == "0a1b2c3d-0000-4000-8000-00000000c1de"
    assert volume.alias == "scsi0-0-0-0"


def test_addresses_in_the_form_of_the_guest() -> None:
    assert disk(RUNNING).address == "pci:0000:04:00.0"
    assert disk(RUNNING, "sda").address == "drive:0000:01:00.0:0:0:0"
    assert disk(RUNNING, "sdb").address == "drive:0000:00:1f.2:0:0:1"
    controller = "<controller type='sata' index='0'>"
    assert disk(RUNNING.replace(controller, "<controller>"), "sdb").address is None


def test_encrypted_data_file_and_fd_group() -> None:
    devices = """
      <disk type='file'><driver type='qcow2'/>
        <source file='/a'><encryption format='luks'/>
          <dataStore type='file'><format type='raw'/><source file='/data'/></dataStore></source>
        <target dev='a'/></disk>
      <disk type='file'><driver type='raw'/><source file='/b'/><encryption format='luks'/>
        <target dev='b'/></disk>
      <disk type='file'><driver type='raw'/><source fdgroup='g'/><target dev='c'/></disk>
    """
    a, b, c = parse(domain_with(devices)).disks
    assert a.layers[0].encrypted and b.layers[0].encrypted
    assert a.data_file == Layer(storage="file", source="/data", format="raw")
    assert b.data_file is None
    assert c.layers == (Layer(storage="file", source=None, format="raw"),)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("state='connected'", "connected"),
        ("state='disconnected'", "disconnected"),
        ("state='other'", "unknown"),
        ("", "unknown"),
    ],
)
def test_agent_channel(attributes: str, expected: str) -> None:
    target = f"<target type='virtio' name='org.qemu.guest_agent.0' {attributes}/>"
    assert parse(domain_with(f"<channel type='unix'>{target}</channel>")).channel == expected


def test_other_channels_are_no_agent() -> None:
    spice = "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>"
    assert parse(domain_with(spice)).channel == "absent"


def test_the_id_tells_a_running_domain() -> None:
    assert domxml.is_active(RUNNING)
    assert not domxml.is_active(SHUTOFF)
    assert not domxml.is_active("")
    assert not domxml.is_active("<domain type='qemu'><a id='3'/></domain>")


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "nonsense",
        "<domain",
        "<network/>",
        "<domain><name>n</name></domain>",
        "<domain><name>n</name><uuid>not-one</uuid></domain>",
        "<domain><uuid>6f6c0d3e-5a3b-4a8c-9d0e-2f7d7f6a1b2c</uuid></domain>",
        "<!DOCTYPE domain [<!ENTITY a 'b'>]>" + RUNNING,
        domain_with("<disk type='file'><source file='/a'/></disk>"),
        domain_with("<disk type='file'><source file='/a'/><target/></disk>"),
        domain_with("<disk><target dev='a'/></disk><disk><target dev='a'/></disk>"),
        RUNNING.replace("size='4194304'", "size='lots'"),
        RUNNING.replace("size='4194304'", "size='-1'"),
        RUNNING.replace("size='4194304'", f"size='{2**63}'"),
        RUNNING.replace("bus='0x04'", "bus='0xzz'"),
        RUNNING.replace("</domain>", "</domain>\0"),
        RUNNING + " " * domxml.MAX_CHARACTERS,
    ],
)
def test_anything_else_is_an_error_with_a_code(xml: str) -> None:
    with pytest.raises(HostError) as caught:
        parse(xml)
    assert caught.value.code == "domain-unreadable"


def test_the_bounds() -> None:
    disks = "".join(f"<disk><target dev='d{n}'/></disk>" for n in range(domxml.MAX_DISKS))
    assert len(parse(domain_with(disks)).disks) == domxml.MAX_DISKS
    with pytest.raises(HostError, match="disks"):
        parse(domain_with(disks + "<disk><target dev='more'/></disk>"))

    def chain(depth: int) -> str:
        link = "<backingStore type='file'><format type='qcow2'/><source file='/b'/>"
        below = link * (depth - 1) + "<backingStore/>" + "</backingStore>" * (depth - 1)
        return domain_with(f"<disk><source file='/a'/>{below}<target dev='a'/></disk>")

    assert len(disk(chain(domxml.MAX_CHAIN), "a").layers) == domxml.MAX_CHAIN
    with pytest.raises(HostError, match="layers"):
        parse(chain(domxml.MAX_CHAIN + 1))


def test_deep_nesting_is_no_danger() -> None:
    deep = "<a>" * 100_000 + "</a>" * 100_000
    assert parse(domain_with(deep)).disks == ()


def _only_declared_errors(xml: str) -> None:
    try:
        domain = parse(xml)
    except HostError as error:
        assert error.code == "domain-unreadable"
    else:
        assert isinstance(domain, Domain)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mangled_documents(data: st.DataObject) -> None:
    """Cut, repeat and exchange pieces of a real document."""
    xml = data.draw(st.sampled_from([RUNNING, SHUTOFF]))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(xml)))
        end = data.draw(st.integers(start, min(len(xml), start + 300)))
        piece = data.draw(st.one_of(st.just(""), st.text(max_size=20), st.just(xml[start:end] * 2)))
        xml = xml[:start] + piece + xml[end:]
    _only_declared_errors(xml)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mangled_attributes(data: st.DataObject) -> None:
    """Well-formed, with values that libvirt would not write."""
    quoted = RUNNING.split("'")
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(quoted) // 2 - 1)) * 2 + 1
        quoted[place] = data.draw(
            st.one_of(
                st.sampled_from(
                    ["", "-1", "0x", "99999999999999999999", "network", "drive", "pci"]
                ),
                st.text(st.characters(codec="ascii", exclude_characters="<&'"), max_size=12),
            )
        )
    _only_declared_errors("'".join(quoted))

# SPDX-License-Identifier: Apache-2.0
"""Whoever follows the book literally gets from nothing to a tenant's usage.

What is replaced, and nothing else:

* addresses and ports, and the passwords of people who were there before (:func:`_replaced`);
* ``sudo -u postgres psql``, by one that knows where the tests' server is;
* ``systemctl``, by ``tests/book/systemctl``;
* the port in the shipped file of uWSGI, after the book has installed it;
* where there is no Nova, ``doctor`` may say so: it ends with 1.

There before, as in every cloud: the projects ``service`` and ``acme``, the tenant ``alice`` who
reads ``acme``, Nova (a small one over HTTP), Placement, a server of ``acme`` on ``compute-1``, and
there ``nova.conf``.
"""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Iterator, Mapping

import pytest

from tests.book import page, server
from tests.book.machine import Machine
from tests.fake_nova import FakeNova
from tests.lab.hypervisor import Hypervisor
from tests.services import daemon
from tests.services.cloud import Cloud
from tests.services.keystone import Keystone
from tests.services.memcached import Memcached
from tests.services.placement import Placement, Promises
from tests.services.postgresql import Postgresql


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine(disk_mib=4096) as some:
        yield some


def _replaced(text: str, words: Mapping[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text


def test_one_machine(hypervisor: Hypervisor, machine: Machine) -> None:
    server.boot(hypervisor, "acme-project")
    port, metrics = (str(daemon.free_port()) for _ in range(2))
    words = {
        "127.0.0.1:8788": f"127.0.0.1:{port}",
        "127.0.0.1:9752": f"127.0.0.1:{metrics}",
        "nova-diskaudit-api >": f"nova-diskaudit-api --port {port} >",
    }
    doctor = "nova-diskaudit doctor --config-file /etc/nova-diskaudit/nova-diskaudit.conf"
    words[doctor] = f"{doctor} || [ $? = 1 ]"
    script = page.script("single.rst", lambda text: _replaced(text, words))
    said = machine.run(script, mounts=server.mounts(hypervisor))
    shown = said.rpartition("disk usage show")[2]
    assert "2.00 GiB on 1 local disk" in shown, said[-6000:]
    assert "4.00 MiB" in shown, said[-6000:]


def test_a_cloud(postgresql: Postgresql, hypervisor: Hypervisor, machine: Machine) -> None:
    now = datetime.datetime.now(datetime.UTC)
    with Keystone() as keystone, Memcached() as memcached, FakeNova(now) as nova:
        cloud = Cloud(keystone)
        cloud.endpoint("identity", keystone.url, "public", "internal", "admin")
        cloud.endpoint("compute", nova.url, "public", "internal")
        looker = cloud.user("placement", cloud.project("services"), "admin")
        acme = cloud._made("project", name="acme", domain_id="default")
        cloud._made("project", name="service", domain_id="default")
        alice = cloud._made("user", name="alice", domain_id="default", password="alice-password")
        cloud._identity.put(f"/projects/{acme}/users/{alice}/roles/{cloud.role('reader')}")
        nova.hosts = {"compute-1": "cell1"}
        nova.boot(server.UUID, "compute-1", acme)
        server.boot(hypervisor, acme)
        with Placement(keystone, looker) as placement:
            cloud.endpoint("placement", placement.url, "public", "internal")
            promises = Promises(placement, cloud)
            promises.claim(acme, {promises.node("compute-1", disk_gb=100): 20}, server.UUID)
            said = _followed(machine, hypervisor, keystone, memcached, postgresql)
    shown = said.rpartition("--os-cloud alice disk usage show")[2]
    for words in ("acme", "2.00 GiB on 1 local disk", "4.00 MiB", "500 GiB"):
        assert words in shown, said[-6000:]


def _followed(
    machine: Machine,
    hypervisor: Hypervisor,
    keystone: Keystone,
    memcached: Memcached,
    postgresql: Postgresql,
) -> str:
    """What the page said when it was followed to its end."""
    port, metrics = (str(daemon.free_port()) for _ in range(2))
    psql = f"psql -h {postgresql.directory} -p {postgresql.port} -U postgres"
    words = {
        "https://keystone.example.org/v3": keystone.url,
        "https://diskaudit.example.org": f"http://127.0.0.1:{port}",
        "db.example.org": f"127.0.0.1:{postgresql.port}",
        "admin-password": "admin",
        "127.0.0.1:11211": f"127.0.0.1:{memcached.port}",
        "127.0.0.1:8788": f"127.0.0.1:{port}",
        "127.0.0.1:9752": f"127.0.0.1:{metrics}",
        "sudo -u postgres psql": psql,
    }
    script = page.script("install.rst", lambda text: _replaced(text, words))
    shipped = "install -m 0644 nova-diskaudit-api-uwsgi.ini nova-diskaudit-metrics-uwsgi.ini"
    installed = f"{shipped} /etc/nova-diskaudit/\n"
    assert script.count(installed) == 1
    # Beside the book: what systemd itself says of the units.
    script += "systemd-analyze verify --man=no /etc/systemd/system/nova-diskaudit-*.service\n"
    ini = "/etc/nova-diskaudit/nova-diskaudit-api-uwsgi.ini"
    script = script.replace(installed, f"{installed}sed -i s/:8788/:{port}/ {ini}\n")
    machine.write("/etc/nova/nova.conf", "[DEFAULT]\nhost = compute-1\n")
    mounts = server.mounts(hypervisor) | {str(postgresql.directory): str(postgresql.directory)}
    try:
        return machine.run(script, mounts=mounts)
    finally:
        # Other tests have the same server.
        postgresql.sql("DROP DATABASE IF EXISTS nova_diskaudit WITH (FORCE)")
        postgresql.sql("DROP ROLE IF EXISTS nova_diskaudit")


@pytest.mark.parametrize("name", ["single.rst", "install.rst"])
def test_nothing_of_a_page_is_passed_over(name: str) -> None:
    """Every ``executed`` in a page is one of the blocks that were found."""
    source = (page.SOURCE / name).read_text()
    found = list(page.blocks(name))
    assert len(found) == source.count(":class: executed") > 3
    for block in found:
        assert block.caption or block.language == "console"
        assert block.language != "console" or list(page.commands(block.text))


def test_what_is_typed() -> None:
    text = "# one \\\n>   more\nis said\n$ two\n\n# three <<END\n> in it\n> END\n"
    assert list(page.commands(text)) == ["one \\\n  more", "two", "three <<END\nin it\nEND"]


def test_a_block_is_marked_or_left_out(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = ".. code-block:: console\n   :class: executed retried\n\n   # true\n\nwords\n\n"
    other = ".. code-block:: console\n\n   # false\n"
    (tmp_path / "some.rst").write_text(marked + other)
    monkeypatch.setattr(page, "SOURCE", tmp_path)
    assert list(page.blocks("some.rst")) == [
        page.Block(line=1, language="console", text="# true\n", caption="", is_retried=True)
    ]

# SPDX-License-Identifier: Apache-2.0
"""The images are built from their recipes, and what they start runs.

By buildah with ``--isolation chroot``, which needs no container engine: the processes have the
image's files, user and environment, and the machine's own network and processes, as
``--network host --pid host`` gives them. What an engine adds (capabilities, read-only roots,
SELinux) is not tried.

In place of the base image, which is on a registry, there is a Debian 12 made with debootstrap.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping

import pytest

from tests.book import server
from tests.book.machine import CHECKOUT, TOP, Machine
from tests.book.test_containers import instructions
from tests.lab import chroot
from tests.lab.hypervisor import Hypervisor
from tests.services import daemon

_BASE = """\
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends buildah debootstrap
debootstrap --variant=minbase bookworm /var/lib/containers/debian {mirror}
container=$(buildah from scratch)
buildah add --quiet "$container" /var/lib/containers/debian /
buildah commit --quiet --rm "$container" {base}
rm -r /var/lib/containers/debian
"""

# Given to the build alone: how pip reaches its packages here.
_BUILD = """\
cd {checkout}
buildah bud --pull-never --file {recipe} --build-arg PBR_VERSION=1.0.0 \\
    --tag {tag} --volume /run/pip.conf:/etc/pip.conf:ro {certificate} .
"""

# The options are those of an engine too; "$container" is one that was made of the image.
_RUN = """\
container=$(buildah from --pull-never localhost/{tag})
inside() {{ buildah run {options} "$container" -- "$@"; }}
"""

# A Keystone that is never asked.
_CREDENTIALS = """\
auth_type = password
auth_url = http://127.0.0.1:1/v3
username = diskaudit
password = secret
project_name = service
user_domain_name = Default
project_domain_name = Default
"""
_API = f"""\
[database]
connection = sqlite:////var/lib/nova-diskaudit/service.sqlite
[keystone_authtoken]
{_CREDENTIALS}
[nova]
{_CREDENTIALS}
"""


class Images(Machine):
    """A view of the machine with buildah, and what it has built."""

    def run(self, script: str, *, mounts: Mapping[str, str] | None = None) -> str:
        """As :meth:`Machine.run`; the images stay from one script to the next."""
        store = self.data / "containers"
        store.mkdir(exist_ok=True)
        # An overlay does not lie upon another, so buildah has the file system itself.
        begin = "export STORAGE_DRIVER=overlay BUILDAH_ISOLATION=chroot\n"
        return super().run(
            begin + script, mounts={str(store): "/var/lib/containers", **(mounts or {})}
        )


def _base() -> str:
    """The image that every stage of every recipe begins with."""
    found = {
        words
        for recipe in (TOP / "containers").glob("Containerfile.*")
        for words in re.findall(r"(?m)^FROM (\S+)", recipe.read_text())
    }
    assert len(found) == 1, found
    return found.pop()


def _pip_conf() -> str:
    """The settings that pip has here from its environment, as a file."""
    lines = ["[global]"]
    for name, value in sorted(os.environ.items()):
        if name.startswith("PIP_") and name != "PIP_CERT":
            lines.append(f"{name[4:].lower().replace('_', '-')} = {value}")
    if "PIP_CERT" in os.environ:
        lines.append("cert = /etc/pip.crt")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    with Images(disk_mib=4096) as some:
        some.write("/run/pip.conf", _pip_conf())
        some.run(_BASE.format(mirror=shlex.quote(chroot.mirror()), base=_base()))
        yield some


def _build(images: Images, name: str) -> str:
    certificate = os.environ.get("PIP_CERT")
    tag = f"diskaudit-{name}"
    images.run(
        _BUILD.format(
            checkout=CHECKOUT,
            recipe=f"containers/Containerfile.{name}",
            tag=tag,
            certificate=f"--volume {shlex.quote(certificate)}:/etc/pip.crt:ro"
            if certificate
            else "",
        )
    )
    return tag


def _start(recipe: str) -> str:
    """What a container of the image starts when it is told nothing."""
    words = dict(instructions(TOP / f"containers/Containerfile.{recipe}"))
    return shlex.join([*json.loads(words.get("ENTRYPOINT", "[]")), *json.loads(words["CMD"])])


def test_the_agent_measures(images: Images, hypervisor: Hypervisor) -> None:
    """With the capabilities that the book gives it, and no others."""
    server.boot(hypervisor, "acme-project")
    tag = _build(images, "agent")
    images.write(
        "/etc/nova-diskaudit/nova-diskaudit.conf",
        f"[DEFAULT]\nhost = compute-1\n[exporter]\nlisten = 127.0.0.1:{daemon.free_port()}\n",
    )
    options = (
        "--cap-add CAP_DAC_READ_SEARCH --cap-add CAP_SYS_PTRACE"
        " --volume /etc/nova-diskaudit:/etc/nova-diskaudit:ro --volume /run/libvirt:/run/libvirt"
        f" --volume {hypervisor.workdir}:{hypervisor.workdir}:ro,rslave"
    )
    # As an engine does it; buildah would take all of them.
    limits = "setpriv --bounding-set -all,+dac_read_search,+sys_ptrace"
    said = images.run(
        _RUN.format(tag=tag, options=options)
        + f"""\
inside {limits} {_start("agent")} > /run/agent.log 2>&1 &
retried inside nova-diskaudit audit --from-agent || {{ cat /run/agent.log; exit 1; }}
inside {limits} grep CapEff /proc/self/status
""",
        mounts=server.mounts(hypervisor),
    )
    assert re.search(r" running +vda .* 2\.00 GiB +4\.00 MiB ", said), said
    allowed = 1 << 2 | 1 << 19  # CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE
    assert int(said.rpartition("CapEff:")[2], 16) == allowed


def test_the_service_answers(images: Images) -> None:
    """As its own user, on tables that its own command made."""
    tag = _build(images, "service")
    port = daemon.free_port()
    images.write("/etc/nova-diskaudit/nova-diskaudit-api.conf", _API, 0o640)
    ini = "/opt/nova-diskaudit/uwsgi.ini"
    options = (
        f"--volume /etc/nova-diskaudit:/etc/nova-diskaudit:ro --volume /run/{tag}.ini:{ini}:ro"
    )
    said = images.run(
        f"""\
chgrp -R 10788 /etc/nova-diskaudit
files=$(buildah mount $(buildah from --pull-never localhost/{tag}))
grep '^http-socket' "$files{ini}"
sed 's/0.0.0.0:8788/127.0.0.1:{port}/' "$files{ini}" > /run/{tag}.ini
{_RUN.format(tag=tag, options=options)}
inside id
inside nova-diskaudit-manage db sync
inside nova-diskaudit-manage db check
inside {_start("service")} > /run/service.log 2>&1 &
retried curl --fail --silent --show-error http://127.0.0.1:{port}/healthcheck \\
    || {{ cat /run/service.log; exit 1; }}
inside nova-diskaudit-reconcile --list
"""
    )
    assert "http-socket = 0.0.0.0:8788\n" in said
    assert "uid=10788(nova-diskaudit) gid=10788(nova-diskaudit)" in said
    assert "roll-up" in said.rpartition('{"status":"ok"}')[2], said

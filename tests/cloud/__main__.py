# SPDX-License-Identifier: Apache-2.0
"""A cloud to play with: ``python -m tests.cloud up``, ``status``, ``down``.

``up`` starts it in the background, with flavors, images, two tenants and nova-diskaudit, and says
how to use it; when it is there already, it only says so. ``down`` ends it. A process keeps it, and
all of it ends with that process. Its directory, ``/var/tmp/nova-diskaudit-cloud`` or what
``NOVA_DISKAUDIT_CLOUD`` names, has the log, and a ``clouds.yaml``.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from tests.cloud import tenants
from tests.cloud.cloud import Cloud
from tests.cloud.product import Product
from tests.lab import lock
from tests.services.cloud import REGION, Person

#: Seconds for a start from nothing; the installation is most of it.
_PATIENCE = 1500
#: Seconds for its end.
_END = 120


def _directory() -> pathlib.Path:
    return pathlib.Path(os.environ.get("NOVA_DISKAUDIT_CLOUD", "/var/tmp/nova-diskaudit-cloud"))


def _is_kept() -> bool:
    """Whether a process keeps a cloud now, or is about to."""
    if not _directory().is_dir():
        return False
    held = lock.take(_directory(), make=True)
    if held >= 0:
        os.close(held)
    return held < 0


def _state() -> dict[str, Any] | None:
    """What stands about the cloud that runs; None before it is up."""
    try:
        found: dict[str, Any] = json.loads((_directory() / "state.json").read_text())
    except FileNotFoundError:
        return None
    return found


def up() -> int:
    """Start a cloud, unless there is one."""
    if not _is_kept():
        _directory().mkdir(parents=True, exist_ok=True)
        (_directory() / "state.json").unlink(missing_ok=True)
        with (_directory() / "log").open("wb") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.cloud", "keep"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=pathlib.Path(__file__).parents[2],
            )
        print(f"Starting a cloud; {_directory() / 'log'} tells how far it is", flush=True)
        until = time.monotonic() + _PATIENCE
        while _state() is None:
            if keeper.poll() is not None or time.monotonic() > until:
                print("It did not start:", (_directory() / "log").read_text()[-3000:], sep="\n")
                return 1
            time.sleep(0.5)
    return status()


def status() -> int:
    """Say what there is, and how to use it; the exit status is 1 when there is none."""
    if not _is_kept():
        print("No cloud runs")
        return 1
    found = _state()
    if found is None:
        print(f"A cloud is starting; {_directory() / 'log'} tells how far it is")
        return 0
    print(*found["words"], sep="\n")
    return 0


def down() -> int:
    """End the cloud, if there is one."""
    found = _state()
    if not _is_kept():
        print("No cloud runs")
        return 0
    if found is None:
        print("A cloud is only just starting; try again when it is up")
        return 1
    os.kill(found["pid"], signal.SIGTERM)
    until = time.monotonic() + _END
    while _is_kept():
        if time.monotonic() > until:
            print(f"Process {found['pid']} does not end, see {_directory() / 'log'}")
            return 1
        time.sleep(0.2)
    print("The cloud is gone")
    return 0


def keep() -> int:
    """Be the process that keeps the cloud."""
    held = lock.take(_directory(), make=True)
    if held < 0:
        print("Another process keeps a cloud")
        return 1
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    state = _directory() / "state.json"
    with Cloud(lambda line: print(line, flush=True)) as cloud:
        with cloud.phase("flavors and images"):
            tenants.furnish(cloud)
        people = {name: tenants.tenant(cloud, name) for name in ("acme", "globex")}
        with cloud.phase("nova-diskaudit"):
            product = Product(cloud)
            product.start()
        try:
            written = state.with_suffix(".partial")
            words = _words(cloud, product, people)
            written.write_text(json.dumps({"pid": os.getpid(), "words": words}))
            written.rename(state)
            end.wait()
        finally:
            state.unlink(missing_ok=True)
            product.stop()
    os.close(held)
    return 0


def _words(cloud: Cloud, product: Product, people: dict[str, tenants.Tenant]) -> list[str]:
    """Write ``clouds.yaml``; how to use the cloud."""
    project = cloud.services_project
    auditor = cloud.directory.user("auditor", project, "diskaudit_auditor")
    admin = cloud.directory.user("admin", project, "admin")
    persons = {"admin": admin, "auditor": auditor}
    for name, tenant in people.items():
        persons |= {name: tenant.member, f"{name}-reader": tenant.reader}
    clouds = {name: _cloud_of(cloud, person) for name, person in persons.items()}
    file = _directory() / "clouds.yaml"
    # JSON is YAML.
    file.write_text(json.dumps({"clouds": clouds}, indent=1))
    file.chmod(0o600)
    hosts = [
        f"  {host.name}: virsh -c '{host.hypervisor.uri}' list --all; disks in {host.instances}"
        for host in cloud.hosts.values()
    ]
    names = [f"  {name}: {service.directory}" for name, service in cloud.services.items()]
    return [
        f"export OS_CLIENT_CONFIG_FILE={file}",
        f"Clouds in it: {', '.join(clouds)}",
        "  openstack --os-cloud acme server create --image qcow2-with-agent --flavor full "
        "--availability-zone compute-1 --network none web",
        f"Images: {', '.join(tenants.IMAGES.values())}",
        f"Flavors: {', '.join(flavor.name for flavor in tenants.FLAVORS)}",
        f"nova-diskaudit: {product.api.url}",
        *("Hosts:", *hosts, "Services, with their configuration and log:", *names),
    ]


def _cloud_of(cloud: Cloud, person: Person) -> dict[str, Any]:
    return {
        "auth": {
            "auth_url": cloud.keystone.url,
            "user_id": person.id,
            "password": person.password,
            "project_id": person.project,
        },
        "region_name": REGION,
        "identity_api_version": 3,
        "vendor_hook": "nova_diskaudit.sdk:register",
    }


def main() -> int:
    """Run one of the words."""
    words = {"up": up, "status": status, "down": down, "keep": keep}
    parser = argparse.ArgumentParser(
        prog="python -m tests.cloud",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("word", choices=words)
    return words[parser.parse_args().word]()


if __name__ == "__main__":
    sys.exit(main())

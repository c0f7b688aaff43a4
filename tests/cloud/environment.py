# SPDX-License-Identifier: Apache-2.0
"""What is installed once and kept: OpenStack's programs, and its databases without a single row.

    python -m tests.cloud.environment      # make it now, and say where it is

The programs are a virtual environment, by pip from pinned versions (``tests/services/
constraints.txt``). The databases are the files of a MariaDB that ran once to take the tables of
Placement, Glance and Nova; the cells of Nova are in it, as patterns without an address, so a copy
of it serves at any port. Each cloud begins with such a copy.
"""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import time

from tests.lab import chroot
from tests.services import daemon, place, venv
from tests.services.keystone import CONSTRAINTS
from tests.services.mariadb import Mariadb

#: OpenStack 2026.2. pyuwsgi is uWSGI as a wheel, so that no compiler runs for it.
REQUIREMENTS = (
    "nova==34.0.0",
    "openstack-placement==16.0.0",
    "glance==33.0.0",
    "PyMySQL",
    "libvirt-python",
    "pyuwsgi",
    "python-memcached",
    "waitress",
)

DATABASES = ("placement", "glance", "nova_api", "nova_cell0", "nova")

#: What Nova writes down of its cells. Each process fills in its own [database] and transport_url.
_CELL_DATABASE = "{scheme}://{username}@{hostname}:{port}/%s?{query}"
_CELL_BUS = "{scheme}://{username}:{password}@{hostname}:{port}/{path}"
_CELL1 = ("--name=cell1", f"--transport-url={_CELL_BUS}")
_NOVA_CONF = """\
[DEFAULT]
transport_url = rabbit://guest:guest@127.0.0.1:1/
[api_database]
connection = {nova_api}
[database]
connection = {nova}
"""
_NOVA_COMMANDS = (
    ("api_db", "sync"),
    ("cell_v2", "map_cell0", f"--database_connection={_CELL_DATABASE % 'nova_cell0'}"),
    ("db", "sync"),
    ("cell_v2", "create_cell", *_CELL1, f"--database_connection={_CELL_DATABASE % 'nova'}"),
)
_PLACEMENT_CONF = "[placement_database]\nconnection = {placement}\n"
_GLANCE_CONF = "[database]\nconnection = {glance}\n"
#: Old ones are forgotten after that many days.
_KEPT_DAYS = 14


class Database(Mariadb):
    """The MariaDB of a cloud: with all databases in it from the start."""

    NAME = "cloud-mariadb"

    def make_files(self) -> None:
        place.run("cp", "-a", str(databases()), str(self.files))

    def command(self) -> list[str]:
        return [*super().command(), "--max-connections=400"]


def programs() -> pathlib.Path:
    """The virtual environment; made in one to three minutes when it is not in the cache."""
    return venv.made(
        "openstack",
        REQUIREMENTS,
        constraints=CONSTRAINTS,
        then=lambda path: _forget_old_ones("openstack", path),
    )


def databases() -> pathlib.Path:
    """The files of a MariaDB; made in half a minute when they are not in the cache."""
    made_by = (programs().name, DATABASES, _NOVA_CONF, _NOVA_COMMANDS, _mariadb_version())
    with chroot.cached(f"openstack-databases-{_digest(repr(made_by))}") as path:
        if not path.is_dir():
            partial = path.with_name(f"{path.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            with Mariadb() as server:
                _fill(server)
                server.terminate()
                place.run("cp", "-a", str(server.files), str(partial))
            partial.rename(path)
            _forget_old_ones("openstack-databases", path)
    return path


def _fill(server: Mariadb) -> None:
    urls = {name: server.create_database(name) for name in DATABASES}
    for program, conf, commands in (
        ("placement-manage", _PLACEMENT_CONF, (("db", "sync"),)),
        ("glance-manage", _GLANCE_CONF, (("db_sync",),)),
        ("nova-manage", _NOVA_CONF, _NOVA_COMMANDS),
    ):
        file = server.directory / f"{program}.conf"
        file.write_text(conf.format(**urls))
        for command in commands:
            manage = str(programs() / "bin" / program)
            place.run(manage, f"--config-file={file}", *command)


def _mariadb_version() -> str:
    return daemon.run_as_nobody("mariadbd", "--no-defaults", "--version")


def _digest(recipe: str) -> str:
    return hashlib.sha256(recipe.encode()).hexdigest()[:8]


def _forget_old_ones(kind: str, path: pathlib.Path) -> None:
    for other in path.parent.glob(f"{kind}-????????"):
        if other != path and other.stat().st_mtime < time.time() - _KEPT_DAYS * 86400:
            shutil.rmtree(other, ignore_errors=True)


def main() -> None:
    """Install what is missing."""
    daemon.no_arguments(main.__doc__)
    for make in (programs, databases):
        begun = time.monotonic()
        print(f"{make()}: {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()

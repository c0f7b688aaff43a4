# SPDX-License-Identifier: Apache-2.0
"""A Keystone of its own: the real one, from PyPI, under uWSGI, on SQLite.

Its virtual environment is made once and cached, as the lab's costly things are. It is a separate
one, since a service of the cloud does not share its libraries with another. Beside it lies what
``keystone-manage`` made there: an empty cloud with its administrator, which each server copies.
"""

import pathlib
from collections.abc import Mapping
from typing import ClassVar

from tests.services import daemon, place, venv, wsgi

#: What all of OpenStack is made of, to the last library.
CONSTRAINTS = pathlib.Path(__file__).with_name("constraints.txt")
#: Keystone of 2026.2. pyuwsgi is uWSGI as a wheel, so that no compiler runs.
REQUIREMENTS = ("keystone==30.0.0", "pyuwsgi==2.0.30.post1")

#: Passwords of users that live for a test: their hash need not be slow. The administrator's is his
#: name.
_CONF = """\
[DEFAULT]
log_file = {directory}/keystone.log
[database]
connection = sqlite:///{data}/keystone.db
sqlite_synchronous = false
[fernet_tokens]
key_repository = {data}/fernet
[credential]
key_repository = {data}/credential
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
"""
_COMMANDS = (
    ("db_sync",),
    ("fernet_setup", "--keystone-user=root", "--keystone-group=root"),
    ("credential_setup", "--keystone-user=root", "--keystone-group=root"),
    ("bootstrap", "--bootstrap-password=admin", "--bootstrap-region-id=RegionOne"),
)


def environment() -> pathlib.Path:
    """The virtual environment; takes half a minute when it is not in the cache."""

    def make_empty_cloud(path: pathlib.Path) -> None:
        empty = path / "empty"
        empty.mkdir()
        conf = empty / "keystone.conf"
        conf.write_text(_CONF.format(directory=empty, data=empty))
        for command in _COMMANDS:
            place.run(str(path / "bin/keystone-manage"), f"--config-file={conf}", *command)

    return venv.made(
        "keystone",
        REQUIREMENTS,
        constraints=CONSTRAINTS,
        then=make_empty_cloud,
        of=(_CONF, _COMMANDS),
    )


class Keystone(wsgi.Wsgi):
    """One server; :class:`tests.services.cloud.Cloud` fills it with people."""

    NAME: ClassVar[str] = "keystone"
    MODULE: ClassVar[str] = "keystone.wsgi.api:application"

    def __init__(self, settings: str = "") -> None:
        """:param settings: further lines of keystone.conf, with their group."""
        super().__init__()
        self._settings = settings

    @property
    def url(self) -> str:
        """Of version 3, as in its own catalog."""
        return f"http://127.0.0.1:{self.port}/v3"

    def prepare(self) -> None:
        self.environment = environment()
        for name in ("keystone.db", "fernet", "credential"):
            place.run("cp", "-a", str(self.environment / "empty" / name), str(self.data))
        self._conf = self.directory / "keystone.conf"
        self._conf.write_text(
            _CONF.format(directory=self.directory, data=self.data) + self._settings
        )

    def environ(self) -> Mapping[str, str]:
        return {"OS_KEYSTONE_CONFIG_FILES": str(self._conf)}


def main() -> None:
    """Run a Keystone until the shell that it opens ends."""
    daemon.no_arguments(main.__doc__)
    with Keystone() as server:
        names = {
            "OS_AUTH_URL": server.url,
            "OS_USERNAME": "admin",
            "OS_PASSWORD": "admin",
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_IDENTITY_API_VERSION": "3",
        }
        daemon.present(server, *(f"export {name}={value}" for name, value in names.items()))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""A Gnocchi of its own: the real one, from PyPI, its API under uWSGI, its metricd beside.

Measures, aggregates and what arrives are files; the index is a database of a PostgreSQL that the
caller has. Without a Keystone, users are believed to be who they say (``auth_mode = basic``), and
``admin`` may do all.
"""

from __future__ import annotations

import contextlib
import pathlib
import secrets
from collections.abc import Mapping
from typing import ClassVar

from tests.services import daemon, place, venv, wsgi
from tests.services.postgresql import Postgresql

#: Gnocchi speaks to PostgreSQL by psycopg2 alone; the binary wheel needs no compiler. The rest is
#: what Gnocchi's own extra [postgresql] names, with the releases that it was tried with here.
REQUIREMENTS = (
    "gnocchi[keystone]==4.7.1",
    "psycopg2-binary==2.9.13",
    "SQLAlchemy==2.1.9",
    "SQLAlchemy-Utils==0.43.0",
    "oslo.db==18.1.1",
    "alembic",
    "pyuwsgi==2.0.30.post1",
)

#: metricd looks at once at what arrived (greedy), and every second at what is left.
_CONF = """\
[DEFAULT]
log_file = {directory}/gnocchi.log
verbose = false
[api]
auth_mode = {auth_mode}
[indexer]
url = {url}
[storage]
driver = file
file_basepath = {data}
[metricd]
workers = 1
metric_processing_delay = 1
metric_reporting_delay = -1
"""


def environment() -> pathlib.Path:
    """The virtual environment; takes half a minute when it is not in the cache."""
    return venv.made("gnocchi", REQUIREMENTS)


class Gnocchi(wsgi.Wsgi):
    """One server.

    :param auth_token: options of ``[keystone_authtoken]``, to believe Keystone.
    """

    NAME: ClassVar[str] = "gnocchi"
    MODULE: ClassVar[str] = "gnocchi.wsgi.api:application"

    def __init__(
        self, index: Postgresql, *, auth_token: Mapping[str, object] | None = None
    ) -> None:
        super().__init__()
        self._index = index
        self._auth_token = auth_token
        self._database = f"gnocchi{secrets.token_hex(4)}"

    def prepare(self) -> None:
        self.environment = environment()
        url = self._index.create_database(self._database).replace("+psycopg", "")
        self._conf = self.directory / "gnocchi.conf"
        text = _CONF.format(
            directory=self.directory,
            data=self.data,
            url=url,
            auth_mode="basic" if self._auth_token is None else "keystone",
        )
        options = [f"{name} = {value}" for name, value in (self._auth_token or {}).items()]
        self._conf.write_text("\n".join([text, "[keystone_authtoken]", *options, ""]))
        upgrade = str(self.environment / "bin/gnocchi-upgrade")
        place.run(upgrade, f"--config-file={self._conf}", "--skip-archive-policies-creation")

    def options(self) -> list[str]:
        metricd = f"{self.environment}/bin/gnocchi-metricd --config-file={self._conf}"
        return [f"--pyargv=--config-file={self._conf}", f"--attach-daemon={metricd}", "--master"]

    def stop(self) -> None:
        super().stop()
        with contextlib.suppress(place.ServiceError):
            self._index.drop_database(self._database)


def main() -> None:
    """Run a Gnocchi until the shell that it opens ends."""
    daemon.no_arguments(main.__doc__)
    with Postgresql() as index, Gnocchi(index) as server:
        daemon.present(server, f"curl -u admin: {server.url}/v1/archive_policy")


if __name__ == "__main__":
    main()

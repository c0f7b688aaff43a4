# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL cluster of its own, of the newest release that is installed."""

import pathlib
import signal
import subprocess
from typing import ClassVar

from tests.services import daemon, place

#: What ends up on the disk when the *machine* dies matters to no test, so fsync is off; what was
#: committed before the *process* dies is kept all the same, and pages are never torn.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "fsync": "off",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    "deadlock_timeout": "200ms",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "jit": "off",
}


def _binaries() -> pathlib.Path:
    found = pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(found, key=lambda path: int(path.parts[4]), default=None)
    if newest is None:
        raise place.ServiceError("PostgreSQL is not installed (Debian: postgresql)")
    return newest.parent


class Postgresql(daemon.Daemon):
    """One cluster. Whoever reaches the port is who he says, without password.

    The role ``diskaudit`` owns the databases, as a service does.
    """

    NAME: ClassVar[str] = "postgresql"
    #: who may do everything
    ADMIN: ClassVar[str] = "postgres"
    GENTLY: ClassVar[signal.Signals] = signal.SIGINT  # SIGTERM would wait for the clients

    def prepare(self) -> None:
        daemon.run_as_nobody(
            *(str(_binaries() / "initdb"), "--pgdata", str(self.data / "cluster")),
            *("--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"),
            *("--no-sync", "--no-instructions", "--wal-segsize=4"),
        )

    def command(self) -> list[str]:
        settings = _SETTINGS | {
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
        }
        given = [word for name in settings for word in ("-c", f"{name}={settings[name]}")]
        return [str(_binaries() / "postgres"), "-D", str(self.data / "cluster"), *given]

    def is_ready(self) -> bool:
        asked = subprocess.run(
            [*self._client("psql"), "--command=SELECT 1", "postgres"],
            capture_output=True,
            check=False,
        )
        return asked.returncode == 0

    def populate(self) -> None:
        self.sql("CREATE ROLE diskaudit LOGIN")

    def sql(self, statement: str, database: str = "postgres") -> list[list[str]]:
        """Rows of text, by a client of its own."""
        told = place.run(
            *self._client("psql"),
            *("--no-align", "--tuples-only", "--field-separator=\t", "--quiet"),
            *("--set=ON_ERROR_STOP=1", f"--command={statement}", database),
        )
        return [line.split("\t") for line in told.splitlines()]

    def create_database(self, name: str) -> str:
        """A new, empty database; the URL of :meth:`url`."""
        self.sql(f'CREATE DATABASE "{name}" OWNER diskaudit')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove it; who is connected to it is thrown out."""
        self.sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url(self, database: str, *, port: int | None = None) -> str:
        """What SQLAlchemy calls it.

        :param port: of something between the client and the server.
        """
        return f"postgresql+psycopg://diskaudit@127.0.0.1:{port or self.port}/{database}"

    def set_read_only(self, read_only: bool) -> None:
        """Like a standby: transactions that begin from now on cannot write."""
        value = "on" if read_only else "off"
        self.sql(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        self.sql("SELECT pg_reload_conf()")

    def disconnect_all(self, database: str) -> int:
        """End every client's connection; how many there were."""
        told = self.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            f"WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        )
        return int(told[0][0])

    def _client(self, program: str) -> list[str]:
        return [
            program,
            "--no-psqlrc",
            f"--host={self.directory}",
            f"--port={self.port}",
            f"--username={self.ADMIN}",
        ]


def main() -> None:
    """Run a PostgreSQL until the shell that it opens ends."""
    daemon.no_arguments(main.__doc__)
    with Postgresql() as server:
        url = server.create_database("diskaudit")
        daemon.present(server, url, f"psql -h 127.0.0.1 -p {server.port} -U diskaudit diskaudit")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""A MariaDB server of its own."""

import contextlib
import pathlib
import subprocess
from typing import ClassVar

from tests.services import daemon, place

#: As with PostgreSQL: the log is written at each commit but not synced, so what was committed
#: survives the death of the process. nosync leaves the double write buffer on.
_SETTINGS = (
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=nosync",
    "--character-set-server=utf8mb4",
    "--max-connections=60",
    "--lc-messages-dir=/usr/share/mysql",
)


class Mariadb(daemon.Daemon):
    """One server. The user ``diskaudit``, without password, owns all databases but no more."""

    NAME: ClassVar[str] = "mariadb"
    #: who may do everything
    ADMIN: ClassVar[str] = "root"

    @property
    def files(self) -> pathlib.Path:
        """Where its databases lie."""
        return self.data / "server"

    def make_files(self) -> None:
        """Make what an empty server has in :attr:`files`."""
        daemon.run_as_nobody(
            *("mariadb-install-db", "--no-defaults", f"--datadir={self.files}"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
            *("--skip-name-resolve", "--innodb-flush-method=nosync"),
            *(f"--tmpdir={self.data}", "--innodb-log-file-size=16M"),
        )

    def prepare(self) -> None:
        self.make_files()
        self._grant = self.directory / "grant.sql"
        # All on every database is not all: nothing that lifts read_only or the limits.
        self._grant.write_text(
            "CREATE USER IF NOT EXISTS 'diskaudit'@'127.0.0.1';\n"
            "GRANT ALL ON `%`.* TO 'diskaudit'@'127.0.0.1';\n"
            f"CREATE USER IF NOT EXISTS '{self.ADMIN}'@'127.0.0.1';\n"
            f"GRANT ALL ON *.* TO '{self.ADMIN}'@'127.0.0.1';\n"
        )

    def command(self) -> list[str]:
        return [
            *("mariadbd", "--no-defaults", f"--port={self.port}", *_SETTINGS),
            *(f"--datadir={self.files}", f"--socket={self.directory / 'socket'}"),
            *(f"--pid-file={self.directory / 'pid'}", f"--tmpdir={self.data}"),
            f"--init-file={self._grant}",
        ]

    def is_ready(self) -> bool:
        asked = subprocess.run(
            [*self._client(), "--execute=SELECT 1"], capture_output=True, check=False
        )
        return asked.returncode == 0

    def sql(self, statement: str, database: str = "mysql") -> list[list[str]]:
        """Rows of text, by a client of its own."""
        told = place.run(
            *self._client(), "--batch", "--skip-column-names", f"--execute={statement}", database
        )
        return [line.split("\t") for line in told.splitlines()]

    def create_database(self, name: str) -> str:
        """A new, empty database; the URL of :meth:`url`."""
        self.sql(f"CREATE DATABASE `{name}`")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove it; who works in it is thrown out, for a DROP would wait for him."""
        self.disconnect_all(name)
        self.sql(f"DROP DATABASE `{name}`")

    def url(self, database: str, *, port: int | None = None) -> str:
        """What SQLAlchemy calls it.

        :param port: of something between the client and the server.
        """
        return f"mysql+pymysql://diskaudit@127.0.0.1:{port or self.port}/{database}?charset=utf8mb4"

    def set_read_only(self, read_only: bool) -> None:
        """Like a replica: only who has a special privilege can write."""
        self.sql(f"SET GLOBAL read_only = {int(read_only)}")

    def disconnect_all(self, database: str) -> int:
        """End every client's connection; how many there were."""
        found = self.sql(f"SELECT id FROM information_schema.processlist WHERE db = '{database}'")
        for (number,) in found:
            # It may have ended by itself meanwhile.
            with contextlib.suppress(place.ServiceError):
                self.sql(f"KILL SOFT CONNECTION {number}")
        return len(found)

    def _client(self) -> list[str]:
        return ["mariadb", "--no-defaults", f"--socket={self.directory / 'socket'}", "--user=root"]


def main() -> None:
    """Run a MariaDB until the shell that it opens ends."""
    daemon.no_arguments(main.__doc__)
    with Mariadb() as server:
        url = server.create_database("diskaudit")
        daemon.present(server, url, f"mariadb -h 127.0.0.1 -P {server.port} -u diskaudit diskaudit")


if __name__ == "__main__":
    main()

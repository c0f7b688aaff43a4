# SPDX-License-Identifier: Apache-2.0
"""SQLite on a file system of its own, with the verbs of the servers."""

from typing import ClassVar

from tests.services import place


class Sqlite(place.Place):
    """A directory of database files. There is no process to kill but those that have them open."""

    NAME: ClassVar[str] = "sqlite"

    def url(self, database: str) -> str:
        """What SQLAlchemy calls it."""
        return f"sqlite:///{self.data}/{database}.sqlite"

    def create_database(self, name: str) -> str:
        """The URL of a file that is not there yet."""
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove the file and its logs."""
        for file in self.data.glob(f"{name}.sqlite*"):
            file.unlink()

    def set_read_only(self, read_only: bool) -> None:
        """As after an error of the disk: who has a file open cannot write any more either.

        But for the index of the log, which is mapped into memory: the kernel ends who writes there.
        """
        for file in self.data.glob("*.sqlite*"):
            if not file.name.endswith("-shm"):
                place.run("chattr", "+i" if read_only else "-i", str(file))

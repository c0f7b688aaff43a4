# SPDX-License-Identifier: Apache-2.0
"""A memcached of its own, for keystonemiddleware's cache of tokens."""

from typing import ClassVar

from tests.services import daemon


class Memcached(daemon.Daemon):
    """One server."""

    NAME: ClassVar[str] = "memcached"

    @property
    def address(self) -> str:
        """``host:port``"""
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "16"]


def main() -> None:
    """Run a memcached until the shell that it opens ends."""
    daemon.no_arguments(main.__doc__)
    with Memcached() as server:
        daemon.present(server, server.address)


if __name__ == "__main__":
    main()

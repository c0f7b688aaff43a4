# SPDX-License-Identifier: Apache-2.0
"""A RabbitMQ of its own: one node, with a port mapper (epmd) of its own, all on loopback."""

from collections.abc import Mapping
from typing import ClassVar

from tests.services import daemon

_HOME = "/usr/lib/rabbitmq/bin"

# Erlang's schedulers would spin while they wait, on processors that others need.
_RUNTIME = "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"


class Rabbitmq(daemon.Daemon):
    """One server; the user ``guest``, whom it knows by itself, may do everything from loopback."""

    NAME: ClassVar[str] = "rabbitmq"

    @property
    def url(self) -> str:
        """What oslo.messaging calls it."""
        return f"rabbit://guest:guest@127.0.0.1:{self.port}/"

    def prepare(self) -> None:
        self._ports = (daemon.free_port(), daemon.free_port())
        (self.directory / "plugins").write_text("[].\n")

    def command(self) -> list[str]:
        # Debian's own script insists on the user rabbitmq.
        return [f"{_HOME}/rabbitmq-server"]

    def environ(self) -> Mapping[str, str]:
        epmd, distribution = self._ports
        return {
            "HOME": str(self.data),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd),
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_LOG_BASE": str(self.data),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.data / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "none"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.directory / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _RUNTIME,
        }


def main() -> None:
    """Run a RabbitMQ until the shell that it opens ends."""
    daemon.no_arguments(main.__doc__)
    with Rabbitmq() as server:
        daemon.present(server, server.url)


if __name__ == "__main__":
    main()

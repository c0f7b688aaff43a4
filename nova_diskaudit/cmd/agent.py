# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit-agent``: the service of one compute node, in the foreground."""

from __future__ import annotations

import signal
import sys

from nova_diskaudit.conf import ConfigurationError, read


def main() -> int:
    """Run until it is told to end; 2 when it cannot begin."""
    words = sys.argv[1:]
    where = "nova-diskaudit-agent"
    try:
        conf = read(words, where=where)
        from nova_diskaudit import notify
        from nova_diskaudit.agent import service

        # Before any thread is started: every thread and lane inherits it, so that only the main
        # thread, which waits for them, is told.
        signal.pthread_sigmask(signal.SIG_BLOCK, service.SIGNALS)
        agent = service.Agent(conf, reload=lambda: read(words, where=where), tell=notify.notify)
        return agent.run()
    except ConfigurationError as error:
        print(f"nova-diskaudit-agent: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

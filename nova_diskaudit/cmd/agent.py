# SPDX-License-Identifier: Apache-2.0
"""``nova-diskaudit-agent``: the service of one compute node, in the foreground."""

from __future__ import annotations

import sys

from nova_diskaudit.cmd import extra
from nova_diskaudit.conf import ConfigurationError, read


@extra.needed("nova-diskaudit-agent", "agent")
def main() -> int:
    """Run until it is told to end; 2 when it cannot begin."""
    words = sys.argv[1:]
    where = "nova-diskaudit-agent"
    try:
        conf = read(words, where=where)
        from nova_diskaudit import notify, signals
        from nova_diskaudit.agent import service

        inbox = signals.listen(service.SIGNALS)
        agent = service.Agent(conf, reload=lambda: read(words, where=where), tell=notify.notify)
        return agent.run(inbox)
    except ConfigurationError as error:
        print(f"nova-diskaudit-agent: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

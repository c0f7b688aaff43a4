# SPDX-License-Identifier: Apache-2.0
"""The central service as a process of its own, for benchmarks.

    python -m tests.bench.serve URL PORT

All of it but Keystone: who calls is told by the headers that keystonemiddleware would leave, so
that policies, the ledger of Nova and the rules of tenants are in what is measured.
"""

from __future__ import annotations

import logging
import sys

from nova_diskaudit.api import app
from nova_diskaudit.conf import service
from nova_diskaudit.store import engine
from nova_diskaudit.wsgi import server
from tests.unit.api.service import by_headers

THREADS = 8


def main() -> None:
    """Serve until killed."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    url, port = sys.argv[1], int(sys.argv[2])
    conf = service.unread()
    conf([], default_config_files=[], default_config_dirs=[])
    database = engine.create(url, max_pool_size=THREADS)
    made = app.service_of(conf, database)._replace(enrollment=False)
    application = app.assemble(conf, made, by_headers)
    server.listen(application, host="127.0.0.1", port=port, threads=THREADS).run()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Real servers for tests: PostgreSQL, MariaDB, memcached, Keystone, Placement.

Each is a context manager that starts a server of its own on 127.0.0.1, in a directory of its own
(:mod:`tests.services.daemon`), and takes both away again. Nothing of the machine's own servers is
used or touched. Tests get them as fixtures (:mod:`tests.services.fixtures`), people with
``python -m tests.services.postgresql`` (``mariadb``, ``memcached``, ``keystone``,
``placement``).

Needs root, Linux and the Debian packages of bindep.txt. No test lives here but those of the servers
themselves; what is tested with them is in ``tests/service``.
"""

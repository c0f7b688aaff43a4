# SPDX-License-Identifier: Apache-2.0
"""The central service among what it really works with: databases, Keystone, uWSGI.

``tests/unit`` shows what it does when all is well, on SQLite and without any server. Here is what
only real servers can show: the same tests on PostgreSQL and MariaDB, what happens when a database
dies, fills up or stops to be writable, and whom keystonemiddleware and Keystone let in. The
servers are those of ``tests/services``.
"""

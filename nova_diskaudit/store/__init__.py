# SPDX-License-Identifier: Apache-2.0
"""The central service's database: tables, migrations, and every statement that is run on them.

Two ledgers. ``instance`` is Nova's word; ``sighting`` is an agent's word about one instance on
one host. Who is believed is a join of the two (:mod:`.trust`), never a state that somebody has to
keep right. Nothing here knows HTTP, Nova or configuration; functions take an engine or a
connection, and what goes wrong leaves as one of :mod:`.errors`.

Every time is a count of microseconds since 1970 in UTC (:mod:`.moment`): the same integer, exact
and in order, in SQLite, PostgreSQL and MariaDB.
"""

# SPDX-License-Identifier: Apache-2.0
"""MariaDB is told in which order to read; without it a page may take a minute, by its mood."""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from nova_diskaudit.store import trust


def _statement() -> sa.Select[tuple[str]]:
    joined = trust.join(nova=True, lead="instance")
    return trust.in_order(sa.select(joined.uuid).select_from(joined.source).where(joined.is_best))


def test_mariadb_begins_where_we_say_within_the_search_for_better_sightings_too() -> None:
    words = str(_statement().compile(dialect=mysql.dialect()))
    outer, inner = words.split("EXISTS")
    assert outer.startswith("SELECT STRAIGHT_JOIN")
    assert inner.strip().startswith("(SELECT STRAIGHT_JOIN")


def test_the_others_decide_by_themselves() -> None:
    for dialect in (postgresql.dialect(), sqlite.dialect()):
        assert "STRAIGHT_JOIN" not in str(_statement().compile(dialect=dialect))


def test_nor_does_mariadb_begin_with_all_hosts_for_each_instance_that_moves() -> None:
    named = trust.named()
    statement = sa.select(sa.func.count()).select_from(named.source).where(*named.conditions)
    words = str(statement.compile(dialect=mysql.dialect()))
    assert words.count("(SELECT STRAIGHT_JOIN count(*)") == 2

# SPDX-License-Identifier: Apache-2.0
"""INSERT that becomes an UPDATE of the row that is there already.

One statement a table and database, made once and run with a list of rows (``executemany``): a
statement that carries all its rows would be compiled anew for every number of them, which costs
more than the database itself.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite


@functools.cache
def statement(table: sa.Table, dialect: str, kept: frozenset[str] = frozenset()) -> Any:
    """The statement for ``dialect`` (its name).

    :param kept: columns of a row that is there already which stay as they are.
    """
    key = [column.name for column in table.primary_key]
    renewed = [c.name for c in table.columns if c.name not in key and c.name not in kept]
    if dialect in ("mysql", "mariadb"):
        insert = mysql.insert(table)
        return insert.on_duplicate_key_update({name: insert.inserted[name] for name in renewed})
    module: Any = {"postgresql": postgresql, "sqlite": sqlite}[dialect]
    insert = module.insert(table)
    return insert.on_conflict_do_update(
        index_elements=key, set_={name: insert.excluded[name] for name in renewed}
    )


def from_select(
    table: sa.Table, dialect: str, names: Sequence[str], select: sa.Select[Any], *, newer: str
) -> Any:
    """INSERT of what ``select`` gives, without a way through this process.

    :param names: the columns, in the order of ``select``; the others are not touched.
    :param newer: the column that decides: a row that is there already stays as it is, if it has
        more in it.
    """
    key = [column.name for column in table.primary_key]
    # MariaDB sets one after the other, so the deciding one is the last.
    renewed = [name for name in names if name not in (*key, newer)] + [newer]
    if dialect in ("mysql", "mariadb"):
        insert = mysql.insert(table).from_select(names, select)
        is_newer = insert.inserted[newer] >= table.c[newer]
        values = [
            (name, sa.func.if_(is_newer, insert.inserted[name], table.c[name])) for name in renewed
        ]
        return insert.on_duplicate_key_update(values)
    module: Any = {"postgresql": postgresql, "sqlite": sqlite}[dialect]
    insert = module.insert(table).from_select(names, select)
    return insert.on_conflict_do_update(
        index_elements=key,
        set_={name: insert.excluded[name] for name in renewed},
        where=insert.excluded[newer] >= table.c[newer],
    )

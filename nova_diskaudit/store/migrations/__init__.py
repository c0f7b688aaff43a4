# SPDX-License-Identifier: Apache-2.0
"""The way of the tables from release to release, walked by alembic.

Each file of ``versions/`` is frozen once it was released: it names its tables itself and imports
nothing of this package.
"""

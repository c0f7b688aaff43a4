# SPDX-License-Identifier: Apache-2.0
"""What runs inside of Nova: a scheduler filter, a weigher, and the validator of extra specs.

``filters`` and ``weights`` answer from a ``snapshot`` that a thread of the ``keeper`` renews by
the central service (``source``, ``projects``), so no request waits for anything. Whatever goes
wrong here means *no opinion*: Nova schedules as if the plugins were not there.
"""

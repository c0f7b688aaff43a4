# SPDX-License-Identifier: Apache-2.0
"""Text for people and scrapers: the only place that makes any.

Each renderer takes finished data and returns a string; nothing is measured or concluded here,
and nothing is written. Every word that came from a guest, a domain or a file name passes
:func:`nova_diskaudit.text.printable` on its way to a terminal or a label.
"""

# SPDX-License-Identifier: Apache-2.0
"""The central service's API.

One noun has one file name in each room: its calls in ``handlers/``, its words in ``schemas/``, who
may in ``policies/``, its rows in :mod:`nova_diskaudit.store`. All calls stand in one table,
:data:`nova_diskaudit.api.routes.ROUTES`; what is done for each of them (who asks, may they, is the
question well formed, which words does an error have) is done once, in :mod:`.dispatch`.
"""

# SPDX-License-Identifier: Apache-2.0
"""Where a WSGI server finds the central service: ``nova_diskaudit.wsgi.api:application``."""

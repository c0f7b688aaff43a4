# SPDX-License-Identifier: Apache-2.0
"""Where a WSGI server finds the central service: ``nova_diskaudit.wsgi.api:application``, and its
numbers for Prometheus on loopback: ``nova_diskaudit.wsgi.metrics:application``.
"""

# SPDX-License-Identifier: Apache-2.0
"""``openstack disk usage ...`` and ``openstack disk audit ...``: a plugin of OpenStack's client.

Of the rest of the project it knows the SDK, and how words are made fit for a terminal; so it can
be installed without agent and service. ``arguments``, ``chart``, ``columns``, ``fields``, ``rows``
and ``words`` are pure: they know no client and no terminal.
"""

# SPDX-License-Identifier: Apache-2.0
"""``openstack disk ...`` as real processes, with a real Keystone, against the service itself."""
